/** DeepSeek-class language models inside your own JVM. */
module dev.fathom {
    exports dev.fathom;
    exports dev.fathom.spi;

    uses dev.fathom.spi.Provider;
}
