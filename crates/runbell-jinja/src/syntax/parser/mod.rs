//! Rewrites the expressions of a tag: jinja2's grammar in, calls of our own operators out.

mod cursor;
mod expression;
mod primary;

pub(super) use cursor::Parser;
