#![doc = include_str!("../../../README.md")]
//!
//! # Features
//!
//! One per kind, its name the kind's: `console` and `webhook` by default, `git`, `mail`, `notebook`, `slack`, or
//! `all-kinds`.
//!
//! More to read: [`docs`].

#![cfg_attr(not(test), deny(unused_crate_dependencies))]

pub use runbell_core::*;
pub use runbell_runtime::*;

#[cfg(feature = "notebook")]
pub use runbell_notebook::Display as NotebookDisplay;

/// Kinds enabled through Cargo features. Naming each entry here keeps it in every build: a feature or a line in
/// Cargo.toml alone does not link a crate.
pub static BUILTINS: &[&Registration] = &[
    #[cfg(feature = "console")]
    &runbell_console::REGISTRATION,
    #[cfg(feature = "git")]
    &runbell_git::REGISTRATION,
    #[cfg(feature = "mail")]
    &runbell_mail::REGISTRATION,
    #[cfg(feature = "notebook")]
    &runbell_notebook::REGISTRATION,
    #[cfg(feature = "slack")]
    &runbell_slack::REGISTRATION,
    #[cfg(feature = "webhook")]
    &runbell_webhook::REGISTRATION,
];

/// The built-in kinds and whatever else this program links.
///
/// A third-party kind is linked by naming its crate (`use acme_pager as _;` in `main.rs`), or, better for libraries,
/// added with [`Registry::with`].
///
/// # Errors
/// [`ErrorKind::DuplicateKind`] when two crates claim one kind.
pub fn registry() -> Result<Registry> {
    Registry::collect(BUILTINS.iter().copied().chain(Registry::linked()))
}

/// A notifier of the built-in kinds, to be configured; see [`Notifier::builder`].
///
/// # Errors
/// As [`registry`].
pub fn notifier() -> Result<NotifierBuilder> {
    registry().map(Notifier::builder)
}

/// The documents: notifications, architecture, writing a kind, performance.
pub mod docs {
    #[doc = include_str!("../docs/architecture.md")]
    pub mod architecture {}
    #[doc = include_str!("../docs/notifications.md")]
    pub mod notifications {}
    #[doc = include_str!("../docs/performance.md")]
    pub mod performance {}
    #[doc = include_str!("../docs/plugins.md")]
    pub mod plugins {}
    #[doc = include_str!("../docs/threat-model.md")]
    pub mod threat_model {}
}
