//! The hidden first line of a comment: the run it shows, and the time of the state it shows.

use std::fmt::{self, Display};

use runbell_core::{DeliveryKey, Message, Timestamp};

const BEGIN: &str = "<!-- runbell run=";
const KEY: &str = " key=";
const AT: &str = " at=";
const END: &str = " -->";

/// The marker of a comment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Marker {
    /// The subject of the comment, 16 hexadecimal digits: one run and notification, or one `update_key`.
    pub(crate) run: String,
    /// The delivery that wrote it.
    pub(crate) key: String,
    /// When the run entered the state that is shown.
    pub(crate) at: Timestamp,
}

impl Marker {
    pub(crate) fn of(message: &Message, update_key: Option<&str>) -> Self {
        let of = match (update_key, message.runs.first()) {
            (Some(key), _) => DeliveryKey::of(&["update_key", key]),
            (None, Some(run)) => DeliveryKey::of(&[run.project(), run.uid(), &message.name]),
            (None, None) => DeliveryKey::of(&[&message.name]),
        };
        // A key prints as `rb_` and 32 digits.
        let run = of.to_string().chars().skip(3).take(16).collect();
        Marker { run, key: message.key.to_string(), at: message.at }
    }

    /// The marker at the beginning of a comment. A marker quoted further down does not count.
    pub(crate) fn begins(comment: &str) -> Option<Self> {
        let line = comment.trim_start().lines().next()?.trim_end();
        let (run, rest) = line.strip_prefix(BEGIN)?.split_once(KEY)?;
        let (key, rest) = rest.split_once(AT)?;
        let at = rest.strip_suffix(END)?.parse().ok()?;
        Some(Marker { run: run.to_owned(), key: key.to_owned(), at })
    }
}

impl Display for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Marker { run, key, at } = self;
        write!(f, "{BEGIN}{run}{KEY}{key}{AT}{at}{END}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_is_read_where_it_begins_a_comment() {
        let marker = Marker {
            run: "0123456789abcdef".to_owned(),
            key: "rb_x".to_owned(),
            at: "2026-02-03T04:05:06.123456Z".parse().expect("a time"),
        };
        let line = marker.to_string();
        assert_eq!(line, "<!-- runbell run=0123456789abcdef key=rb_x at=2026-02-03T04:05:06.123456Z -->");
        assert_eq!(Marker::begins(&format!("{line}\n<h3>x</h3>")), Some(marker.clone()));
        assert_eq!(Marker::begins(&format!("\r\n{line}\r\n<h3>")), Some(marker));
        assert_eq!(Marker::begins(&format!("> {line}")), None);
        assert_eq!(Marker::begins("<!-- runbell run=x key=y at=yesterday -->"), None);
    }
}
