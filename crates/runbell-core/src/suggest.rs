//! "Did you mean …?"

/// The known name nearest to `name`, when one is near enough to be meant.
pub fn nearest<'k>(name: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    // Long names cost quadratic time and are no typing mistakes.
    if name.len() > 64 {
        return None;
    }
    let name = name.to_lowercase();
    let likeness = |candidate: &str| {
        let candidate = candidate.to_lowercase();
        // One slip of the finger: for short names the only measure that holds.
        let slip = strsim::osa_distance(&name, &candidate) <= 1 && candidate.len() > 2;
        strsim::jaro_winkler(&name, &candidate).max(if slip { 0.9 } else { 0.0 })
    };
    known
        .into_iter()
        .map(|candidate| (likeness(candidate), candidate))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|left, right| left.0.total_cmp(&right.0))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_understood_and_strangers_are_not() {
        let known = ["url", "method", "headers", "verify_ssl"];
        for (name, meant) in [
            ("ulr", Some("url")),
            ("methd", Some("method")),
            ("Header", Some("headers")),
            ("verify-ssl", Some("verify_ssl")),
            ("colour", None),
            ("", None),
        ] {
            assert_eq!(nearest(name, known), meant, "{name}");
        }
    }
}
