//! Dynos for real: an image of this machine's own shell, in the sandbox, as root and as a plain user.
#![expect(clippy::unwrap_used, reason = "tests")]

mod fixture;
mod image;
mod launching;
mod releasing;
mod running;
mod supervising;
mod terminals;
