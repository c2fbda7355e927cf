//! The texts of a message, in each form. Pure: no I/O, no clock, nothing kept between calls but compiled
//! templates.
//!
//! [`text`] composes the text of a notification; [`Body`] renders the webhook's `override_body`; [`html`] makes the HTML
//! of mails, comments and notebooks, [`plain`] the same without markup; [`python`] spells values as Python does.
//!
//! **Invariant:** no template, however hostile, and no run, however large, panics, aborts or blocks: every template
//! has a fuel budget, and an operation that would overrun it is refused before its memory is taken.
//!
//! **Invariant:** no error text, note or `Debug` output quotes a value of a run or a notification.

pub mod body;
pub mod html;
pub mod plain;
pub mod python;
pub mod text;

pub use body::{Body, Scope};
pub use runbell_jinja::TemplateValue;
