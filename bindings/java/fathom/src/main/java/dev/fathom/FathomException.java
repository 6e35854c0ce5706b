package dev.fathom;

/** Something that the library refused or failed at. The message says what, where and why. */
public class FathomException extends RuntimeException {
    private static final long serialVersionUID = 1;

    private final Status status;

    /** An exception with the library's own words. */
    public FathomException(Status status, String message) {
        super(message);
        this.status = status;
    }

    /** What kind of failure this is. */
    public Status status() {
        return status;
    }
}
