/** Calls Fathom through the foreign function interface of Java 22 and later. */
module dev.fathom.ffm {
    requires dev.fathom;

    provides dev.fathom.spi.Provider with dev.fathom.ffm.FfmProvider;
}
