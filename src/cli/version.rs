//! What the build was made of; `build.rs` asks for it.

pub(super) const SHORT: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("ANDON_COMMIT"), ")");

pub(super) const LONG: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    " (",
    env!("ANDON_COMMIT"),
    ")\ntarget:   ",
    env!("ANDON_TARGET"),
    "\ncompiler: ",
    env!("ANDON_RUSTC"),
    "\nfeatures: ",
    env!("ANDON_FEATURES"),
);
