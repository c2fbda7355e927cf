//! minijinja, deciding as jinja2 does: run data as its objects, and Python's operators, filters, tests and methods.
//!
//! **Invariant:** every value is paid for in fuel before its memory is taken.

mod checks;
mod compare;
mod data;
mod environment;
mod filters;
mod json;
mod methods;
mod objects;
mod operators;
mod print;

pub use data::TemplateValue;
pub(crate) use environment::{CONDITION, TEXT};
