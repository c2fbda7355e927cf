//! Conditions, texts and templates of Runbell. Pure: no I/O, no clock, nothing kept between calls but compiled
//! templates.
//!
//! [`Condition`] decides whether a notification is sent; [`Body`] renders the webhook's `override_body`;
//! [`html`] is what mail, git and notebook show, [`plain`] the same without markup; [`python`] spells values as Python does. Run data is converted once per transition into a [`TemplateValue`].
//!
//! **Invariant:** no template, however hostile, and no run, however large, panics, aborts or blocks: every template
//! has a fuel budget, and what would overrun it is refused before the memory is taken.
//!
//! **Invariant:** no error text, note or `Debug` output quotes a value of a run or a notification.

pub mod body;
pub mod condition;
mod cut;
pub mod html;
pub mod plain;
pub mod python;
pub mod template;
pub mod text;

pub use body::{Body, Scope};
pub use condition::{Cause, Condition, Outcome};
pub use cut::cut;
pub use template::TemplateValue;
