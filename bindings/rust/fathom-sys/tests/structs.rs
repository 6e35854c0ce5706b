//! The library that these bindings load is the one that they were generated for.

use fathom_sys as sys;

/// A struct that is smaller here than in the library's first version would be written past its end.
#[test]
fn the_library_accepts_the_size_of_each_struct() {
    let api = sys::library().expect("FATHOM_LIBRARY names the library");
    macro_rules! accepted {
        ($($type:ident = $id:ident,)*) => {
            $({
                let mut structure = sys::$type::default();
                let size = u32::try_from(size_of_val(&structure)).unwrap();
                // SAFETY: the struct has this many bytes.
                let status = unsafe {
                    api.fathom_struct_init((&raw mut structure).cast(), sys::$id, size)
                };
                assert_eq!((status, structure.struct_size), (sys::FATHOM_OK, size));
                // SAFETY: as above; fewer bytes are fewer.
                let status = unsafe {
                    api.fathom_struct_init((&raw mut structure).cast(), sys::$id, 4)
                };
                assert_eq!(status, sys::FATHOM_INVALID_ARGUMENT, stringify!($type));
            })*
        };
    }
    accepted! {
        fathom_engine_options = FATHOM_STRUCT_ENGINE_OPTIONS,
        fathom_engine_stats = FATHOM_STRUCT_ENGINE_STATS,
        fathom_device_info = FATHOM_STRUCT_DEVICE_INFO,
        fathom_source = FATHOM_STRUCT_SOURCE,
        fathom_model_options = FATHOM_STRUCT_MODEL_OPTIONS,
        fathom_model_description = FATHOM_STRUCT_MODEL_DESCRIPTION,
        fathom_memory_plan = FATHOM_STRUCT_MEMORY_PLAN,
        fathom_tokenizer_description = FATHOM_STRUCT_TOKENIZER_DESCRIPTION,
        fathom_prompt_options = FATHOM_STRUCT_PROMPT_OPTIONS,
        fathom_message = FATHOM_STRUCT_MESSAGE,
        fathom_session_options = FATHOM_STRUCT_SESSION_OPTIONS,
        fathom_session_description = FATHOM_STRUCT_SESSION_DESCRIPTION,
        fathom_generate_options = FATHOM_STRUCT_GENERATE_OPTIONS,
        fathom_event = FATHOM_STRUCT_EVENT,
        fathom_usage = FATHOM_STRUCT_USAGE,
    }
}
