//! Random sequences of attacks by several children at once, while other clients are served.
