//! The names that a template may use.

/// The names that a template may use beside its variables.
pub(crate) struct Dialect {
    /// Known filters.
    pub(crate) filters: &'static [&'static str],
    /// Known tests.
    pub(crate) tests: &'static [&'static str],
    /// Whether `do`, `break` and `continue` are known, which jinja2 has only as extensions.
    pub(crate) extensions: bool,
}
