//! The only modules that print.

pub(crate) mod error;
pub(crate) mod password;
pub(crate) mod printer;
pub(crate) mod size;
pub(crate) mod style;
pub(crate) mod table;
pub(crate) mod time;
