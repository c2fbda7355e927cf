//! Conditions and texts that decide like jinja2, on minijinja. Pure: no I/O, no clock, and nothing is kept between
//! calls but compiled templates.
//!
//! Two verbs: *compile* takes a source and returns a compiled [`Condition`] or [`Text`], or a [`Fault`]; *evaluate* takes
//! the variables and returns a value, an [`Evaluation`] or a text, or a [`Fault`]. A broken condition is a condition too,
//! one that is always ignored, because its notification is sent all the same. Run data is converted once per transition
//! into a [`TemplateValue`].
//!
//! ```
//! use runbell_core::Value;
//! use runbell_jinja::{Cause, Condition, Evaluation, TemplateValue};
//!
//! let run = TemplateValue::new(&Value::Map(Default::default()));
//! assert_eq!(Condition::compile("{{ run.loss is defined }}").evaluate(&run, &run), Evaluation::False);
//! let Evaluation::Ignored(fault) = Condition::compile("{{ run.loss > 1 }}").evaluate(&run, &run) else { panic!() };
//! assert_eq!((fault.cause, fault.to_string().as_str()), (Cause::Error, "line 1: a missing value has no order"));
//! ```
//!
//! **Invariant:** no template, however hostile, and no run, however large, panics, aborts or blocks: every template has
//! a fuel budget, and an operation that would overrun it is refused before its memory is taken.
//!
//! **Invariant:** no fault and no `Debug` output quotes a value of a run or a notification.

mod condition;
mod engine;
mod fault;
pub mod python;
mod syntax;
mod text;

pub use condition::{Condition, Evaluation, MAX_SOURCE};
pub use engine::TemplateValue;
pub use fault::{Cause, Fault};
pub use text::{Text, Variables};
