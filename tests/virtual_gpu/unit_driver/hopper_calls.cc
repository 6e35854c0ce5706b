// Tensor maps and dependent launches through the driver.
#include <catch2/matchers/catch_matchers_string.hpp>

#include "unit_driver/driver_fixture.h"

using Catch::Matchers::ContainsSubstring;

namespace {

struct MapForm {
    cuuint64_t columns = 64;
    cuuint64_t rows = 32;
    cuuint64_t row_bytes = 256;
    cuuint32_t box_columns = 32;
    cuuint32_t box_rows = 16;
    CUdeviceptr address = 0;
};

CUresult encode(DriverFixture& f, CUtensorMap* map, const MapForm& form) {
    const cuuint64_t extents[] = {form.columns, form.rows};
    const cuuint64_t strides[] = {form.row_bytes};
    const cuuint32_t box[] = {form.box_columns, form.box_rows};
    const cuuint32_t ones[] = {1, 1};
    return f.d.cuTensorMapEncodeTiled_(
        map, CU_TENSOR_MAP_DATA_TYPE_FLOAT32, 2, reinterpret_cast<void*>(form.address), extents,
        strides, box, ones, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
        CU_TENSOR_MAP_L2_PROMOTION_NONE, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
}

CUresult launch_add(DriverFixture& f, CUfunction add, CUdeviceptr x, CUdeviceptr y,
                    CUstream stream) {
    CUlaunchAttribute attribute{};
    attribute.id = CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION;
    attribute.value.programmaticStreamSerializationAllowed = 1;
    CUlaunchConfig config{};
    config.gridDimX = config.gridDimY = config.gridDimZ = 1;
    config.blockDimX = 128;
    config.blockDimY = config.blockDimZ = 1;
    config.hStream = stream;
    config.attrs = &attribute;
    config.numAttrs = 1;
    void* arguments[] = {&x, &y};
    return f.d.cuLaunchKernelEx_(&config, add, arguments, nullptr);
}

// Two launches one after the other, the second reading what the first writes; the findings.
std::string run_dependent(const std::string& ptx, bool as_graph) {
    DriverFixture f;
    const CUfunction add = f.function_of(ptx, "dependent_add");
    const CUstream stream = f.stream();
    const CUdeviceptr x = f.allocate(512);
    const CUdeviceptr y = f.allocate(512);
    const CUdeviceptr z = f.allocate(512);
    REQUIRE(f.d.cuMemsetD32Async_(x, 0, 128, stream) == CUDA_SUCCESS);
    if (as_graph) {
        REQUIRE(f.d.cuStreamBeginCapture_v2_(stream, CU_STREAM_CAPTURE_MODE_RELAXED) ==
                CUDA_SUCCESS);
    }
    REQUIRE(launch_add(f, add, x, y, stream) == CUDA_SUCCESS);
    REQUIRE(launch_add(f, add, y, z, stream) == CUDA_SUCCESS);
    if (as_graph) {
        CUgraph graph = nullptr;
        CUgraphExec exec = nullptr;
        REQUIRE(f.d.cuStreamEndCapture_(stream, &graph) == CUDA_SUCCESS);
        REQUIRE(f.d.cuGraphInstantiateWithFlags_(&exec, graph, 0) == CUDA_SUCCESS);
        REQUIRE(f.d.cuGraphLaunch_(exec, stream) == CUDA_SUCCESS);
        REQUIRE(f.d.cuGraphDestroy_(graph) == CUDA_SUCCESS);
    }
    REQUIRE(f.d.cuStreamSynchronize_(stream) == CUDA_SUCCESS);
    return f.d.text("findings");
}

}  // namespace

// Breaks if the driver's map is not the one that the kernel reads.
TEST_CASE("tensor maps are encoded and used", "[driver][hopper]") {
    DriverFixture f;
    const CUfunction increment = f.function("hopper", "tile_increment", ".90a");
    std::vector<float> values(64 * 32);
    for (size_t i = 0; i < values.size(); i++) {
        values[i] = static_cast<float>(i);
    }
    MapForm from;
    MapForm to;
    from.address = f.allocate(values.size() * 4);
    to.address = f.allocate(values.size() * 4);
    REQUIRE(f.d.cuMemcpyHtoD_v2_(from.address, values.data(), values.size() * 4) == CUDA_SUCCESS);
    CUtensorMap maps[2];
    REQUIRE(encode(f, &maps[0], from) == CUDA_SUCCESS);
    REQUIRE(encode(f, &maps[1], to) == CUDA_SUCCESS);
    void* arguments[] = {&maps[0], &maps[1]};
    REQUIRE(f.d.cuLaunchKernel_(increment, 2, 2, 1, 128, 1, 1, 0, f.stream(), arguments, nullptr) ==
            CUDA_SUCCESS);
    REQUIRE(f.d.cuCtxSynchronize_() == CUDA_SUCCESS);
    std::vector<float> found(values.size());
    REQUIRE(f.d.cuMemcpyDtoH_v2_(found.data(), to.address, found.size() * 4) == CUDA_SUCCESS);
    for (size_t i = 0; i < values.size(); i++) {
        REQUIRE(found[i] == values[i] + 1);
    }
    CHECK(f.d.text("findings").empty());
}

// Breaks if a map that a card's driver refuses is taken.
TEST_CASE("tensor maps have the limits of the documentation", "[driver][hopper]") {
    DriverFixture f;
    CUtensorMap map;
    MapForm form;
    form.address = f.allocate(8192);
    CHECK(encode(f, &map, form) == CUDA_SUCCESS);
    const auto refused = [&](auto change) {
        MapForm changed = form;
        change(changed);
        return encode(f, &map, changed) == CUDA_ERROR_INVALID_VALUE;
    };
    CHECK(refused([](MapForm& m) { m.address += 8; }));
    CHECK(refused([](MapForm& m) { m.row_bytes = 260; }));
    CHECK(refused([](MapForm& m) { m.box_rows = 257; }));
    CHECK_FALSE(refused([](MapForm& m) { m.box_rows = 256; }));
    CHECK(refused([](MapForm& m) { m.box_columns = 36; }));  // Wider than the swizzle.
    CHECK(refused([](MapForm& m) { m.columns = 0; }));
    CHECK_THAT(f.d.text("findings"), ContainsSubstring("no multiple of 16"));
}

// Breaks if a missing griddepcontrol.wait goes unnoticed, in a stream or in a graph.
TEST_CASE("dependent launches must wait", "[driver][hopper]") {
    const std::string ptx = read_text(VIRTUAL_GPU_PTX_DIR "/hopper.90a.ptx");
    std::string without = ptx;
    const size_t at = without.find("griddepcontrol.wait;");
    REQUIRE(at != std::string::npos);
    without.erase(at, std::string("griddepcontrol.wait;").size());
    for (const bool as_graph : {false, true}) {
        CHECK(run_dependent(ptx, as_graph).empty());
        CHECK_THAT(run_dependent(without, as_graph), ContainsSubstring("race-launch hopper.cu:"));
    }
}
