//! jinja2's grammar: reads a template and writes one that the engine decides as jinja2 would.
//!
//! The engine compares anything with anything; Python raises. So operators become calls of functions that raise
//! where Python does.

mod dialect;
mod lexer;
mod parser;
mod rewrite;
mod token;

pub(crate) use dialect::Dialect;
pub(crate) use rewrite::{Rewritten, rewrite};
