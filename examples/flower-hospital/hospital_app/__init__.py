"""A paid federation: hospitals learn which patients will die, judged by AUROC."""
