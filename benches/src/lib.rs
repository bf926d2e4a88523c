//! Ours against direct and against peers, in one run.
