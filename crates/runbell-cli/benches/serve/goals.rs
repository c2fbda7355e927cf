//! Figures, printed beside their goals.

/// Whether all goals so far are met.
#[derive(Debug, Default)]
pub(crate) struct Goals {
    missed: usize,
}

impl Goals {
    /// Prints a figure that has no goal.
    pub(crate) fn show(what: &str, value: f64) {
        println!("{what:60} {value:>11.3}");
    }

    pub(crate) fn at_most(&mut self, what: &str, value: f64, limit: f64) {
        self.line(what, value, value <= limit, &format!("at most {limit:.3}"));
    }

    pub(crate) fn at_least(&mut self, what: &str, value: f64, limit: f64) {
        self.line(what, value, value >= limit, &format!("at least {limit:.3}"));
    }

    pub(crate) fn are_met(&self) -> bool {
        self.missed == 0
    }

    fn line(&mut self, what: &str, value: f64, is_met: bool, wanted: &str) {
        self.missed += usize::from(!is_met);
        println!("{what:60} {value:>11.3}  {wanted:20} {}", if is_met { "met" } else { "MISSED" });
    }
}
