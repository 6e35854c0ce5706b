package dev.fathom;

/** A model that does not fit into the budget, and what it would take. */
public final class BudgetException extends FathomException {
    private static final long serialVersionUID = 1;

    private final transient MemoryPlan plan;

    BudgetException(String message, MemoryPlan plan) {
        super(Status.BUDGET, message);
        this.plan = plan;
    }

    /** What loading would take. */
    public MemoryPlan plan() {
        return plan;
    }
}
