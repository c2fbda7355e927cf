//! Mailboxes: addresses with and without names (RFC 5322 section 3.4), with international domains (IDNA) and local parts
//! (RFC 6532).

use lettre::Address;
use lettre::message::Mailbox;
use url::Host;

const EXAMPLE: &str = "such as ada@example.com or Ada Lovelace <ada@example.com>";

/// One mailbox. A comma that stands in no quotes belongs to the name if an address in angle brackets follows.
///
/// # Errors
/// The text of a finding.
pub(crate) fn mailbox(text: &str) -> Result<Mailbox, String> {
    one(text).map_err(|()| fault(text))
}

/// The address of a mailbox, without its name.
pub(crate) fn bare(mailbox: &Mailbox) -> &str {
    mailbox.email.as_ref()
}

/// The mailboxes of a list's item: usually one.
///
/// # Errors
/// The text of a finding.
pub(crate) fn item(text: &str) -> Result<Vec<Mailbox>, String> {
    let parts = split(text);
    match parts.iter().map(|part| one(part)).collect() {
        Ok(all) => Ok(all),
        // `Doe, Jane <jane@example.com>`, as address books write it.
        Err(()) if parts.iter().filter(|part| part.contains('@')).count() == 1 => {
            one(text).map(|one| vec![one]).map_err(|()| fault(text))
        }
        Err(()) => Err(first_fault(&parts)),
    }
}

/// A text with commas between mailboxes, as its parts. Commas in quotes, comments and angle brackets separate nothing.
pub(crate) fn split(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut begin, mut scan) = (0, Scan::default());
    for (at, c) in text.char_indices() {
        if scan.next(c) && c == ',' {
            parts.push(&text[begin..at]);
            begin = at + 1;
        }
    }
    parts.push(&text[begin..]);
    parts
}

/// What is wrong with a part of a list, given the part that follows it.
pub(crate) fn part_fault(part: &str, next: Option<&&str>) -> String {
    let rest = next.and_then(|next| next.trim().split_once('<'));
    match rest {
        Some((name, address)) if !part.contains('@') && !part.trim().is_empty() => format!(
            "must be a mail address, not {:?}; write \"{}, {}\" <{address}",
            part.trim(),
            part.trim(),
            name.trim()
        ),
        _ => fault(part),
    }
}

fn first_fault(parts: &[&str]) -> String {
    let at = parts.iter().position(|part| one(part).is_err()).unwrap_or(0);
    part_fault(parts[at], parts.get(at + 1))
}

fn fault(text: &str) -> String {
    let text = text.trim();
    if text.is_empty() {
        return format!("must be a mail address {EXAMPLE}");
    }
    let shown = runbell_core::text::one_line(text, 80);
    if text.contains(';') {
        return format!("must be a mail address {EXAMPLE}, not {shown:?}; separate addresses with commas");
    }
    format!("must be a mail address {EXAMPLE}, not {shown:?}")
}

/// Whether a character stands outside quotes, comments and angle brackets.
#[derive(Debug, Default)]
struct Scan {
    is_quoted: bool,
    is_escaped: bool,
    comments: usize,
    is_in_angles: bool,
}

impl Scan {
    /// Goes on by a character; whether it stands outside.
    fn next(&mut self, c: char) -> bool {
        if std::mem::take(&mut self.is_escaped) {
            return false;
        }
        match c {
            '\\' if self.is_quoted || self.comments > 0 => self.is_escaped = true,
            '"' if self.comments == 0 => self.is_quoted = !self.is_quoted,
            '(' if !self.is_quoted => self.comments += 1,
            ')' if !self.is_quoted && self.comments > 0 => self.comments -= 1,
            '<' if !self.is_quoted && self.comments == 0 => self.is_in_angles = true,
            '>' if !self.is_quoted && self.comments == 0 => self.is_in_angles = false,
            _ => return !self.is_quoted && self.comments == 0 && !self.is_in_angles,
        }
        false
    }

    fn is_closed(&self) -> bool {
        !self.is_quoted && !self.is_escaped && self.comments == 0 && !self.is_in_angles
    }
}

/// The text without its comments; `None` when a quote, a comment or a bracket is not closed.
fn without_comments(text: &str) -> Option<String> {
    let (mut scan, mut plain) = (Scan::default(), String::new());
    for c in text.chars() {
        let before = scan.comments;
        scan.next(c);
        if before == 0 && scan.comments == 0 {
            plain.push(c);
        } else if before > 0 && scan.comments == 0 {
            plain.push(' ');
        }
    }
    scan.is_closed().then_some(plain)
}

fn one(text: &str) -> Result<Mailbox, ()> {
    let plain = without_comments(text).ok_or(())?;
    let plain = plain.trim();
    if plain.contains(|c: char| c.is_control()) {
        return Err(());
    }
    let Some(angle) = opening(plain) else { return Ok(Mailbox::new(None, address(plain)?)) };
    let (name, rest) = (plain[..angle].trim(), plain[angle + 1..].strip_suffix('>').ok_or(())?);
    let name = unquoted(name)?;
    Ok(Mailbox::new(Some(name).filter(|name| !name.is_empty()), address(rest.trim())?))
}

/// Where the angle bracket opens.
fn opening(text: &str) -> Option<usize> {
    let mut scan = Scan::default();
    text.char_indices().find_map(|(at, c)| {
        scan.next(c);
        (scan.is_in_angles).then_some(at)
    })
}

/// A display name: words and quoted texts, with single spaces in between.
fn unquoted(name: &str) -> Result<String, ()> {
    let (mut plain, mut is_quoted, mut is_escaped) = (String::new(), false, false);
    for c in name.chars() {
        match c {
            _ if is_escaped => {
                plain.push(c);
                is_escaped = false;
            }
            '\\' if is_quoted => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            // An address where a name belongs is a slip.
            '@' | '<' | '>' | ';' | ':' if !is_quoted => return Err(()),
            c => plain.push(c),
        }
    }
    Ok(plain.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// A bare address. Its domain has a dot, is turned into ASCII, or is an address literal.
fn address(text: &str) -> Result<Address, ()> {
    let (local, domain) = text.rsplit_once('@').ok_or(())?;
    if !is_local(local) {
        return Err(());
    }
    Address::new(local, domain_of(domain)?).map_err(|_| ())
}

/// A dot-atom (RFC 5322 section 3.2.3), also with letters beyond ASCII, or a quoted text.
fn is_local(local: &str) -> bool {
    if local.len() > 64 {
        return false;
    }
    if let Some(quoted) = local.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        return !quoted.is_empty() && !quoted.contains(['"', '\\', '<', '>']);
    }
    let is_atom = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c) || is_letter(c);
    local.split('.').all(|atom| !atom.is_empty() && atom.chars().all(is_atom))
}

fn is_letter(c: char) -> bool {
    !c.is_ascii() && !c.is_whitespace() && !c.is_control() && runbell_core::text::is_inert(c)
}

fn domain_of(domain: &str) -> Result<String, ()> {
    if let Some(literal) = domain.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        let address = match literal.strip_prefix("IPv6:") {
            Some(six) => six.parse::<std::net::Ipv6Addr>().map(|six| format!("[IPv6:{six}]")),
            None => literal.parse::<std::net::Ipv4Addr>().map(|four| format!("[{four}]")),
        };
        return address.map_err(|_| ());
    }
    match Host::parse(domain) {
        Ok(Host::Domain(ascii)) if is_domain(&ascii) && ascii.contains('.') => Ok(ascii),
        _ => Err(()),
    }
}

/// Whether a text is a host name: letters, digits and inner hyphens between dots (RFC 1123 section 2.1).
pub(crate) fn is_domain(text: &str) -> bool {
    let is_label = |label: &str| {
        let is_inner = |c: char| c.is_ascii_alphanumeric() || c == '-';
        (1..=63).contains(&label.len())
            && label.chars().all(is_inner)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= 253 && text.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mailboxes() {
        for (text, name, address) in [
            ("runs@corp.test", None, "runs@corp.test"),
            (" runs@corp.test ", None, "runs@corp.test"),
            ("Run Bot <runs@corp.test>", Some("Run Bot"), "runs@corp.test"),
            ("<runs@corp.test>", None, "runs@corp.test"),
            ("\"Doe, Jane\" <jane@corp.test>", Some("Doe, Jane"), "jane@corp.test"),
            ("Doe, Jane <jane@corp.test>", Some("Doe, Jane"), "jane@corp.test"),
            ("\"A \\\"B\\\" C\" <a@b.co>", Some("A \"B\" C"), "a@b.co"),
            ("J. R. O'Neil (HR (east)) <o@x.co>", Some("J. R. O'Neil"), "o@x.co"),
            ("ada@b.co (Ada, of course)", None, "ada@b.co"),
            ("Jürgen Müller <j@müller.example>", Some("Jürgen Müller"), "j@xn--mller-kva.example"),
            ("jürgen@müller.example", None, "jürgen@xn--mller-kva.example"),
            ("\"john doe\"@x.co", None, "\"john doe\"@x.co"),
            ("\"a@b\" <ops@b.co>", Some("a@b"), "ops@b.co"),
            ("ops+runs!x@b.co", None, "ops+runs!x@b.co"),
            ("a@[192.0.2.1]", None, "a@[192.0.2.1]"),
            ("a@[IPv6:2001:db8::1]", None, "a@[IPv6:2001:db8::1]"),
            ("[ci] bot <r@x.co>", Some("[ci] bot"), "r@x.co"),
        ] {
            let found = mailbox(text).unwrap_or_else(|fault| panic!("{text}: {fault}"));
            assert_eq!((found.name.as_deref(), found.email.to_string().as_str()), (name, address), "{text}");
        }
    }

    #[test]
    fn what_is_no_mailbox() {
        for text in [
            "",
            "ab.co",
            "a@localhost",
            "a b@c.co",
            "a..b@x.co",
            ".a@x.co",
            "a@-x.co",
            "a@x_y.co",
            "a@x.co b@x.co",
            "Ada <a@x.co",
            "Ada a@x.co>",
            "Ada <a@x.co> x",
            "\"Ada <a@x.co>",
            "a@x.co (open",
            "b@x.co <a@x.co>",
            "a@x.co; b@x.co",
            "Team: a@b.co, c@d.co;",
            "a@x.co\r\nBcc: b@x.co",
            "Ada\r\nBcc: x <a@x.co>",
            "a@1.2.3.4",
            "a@[1.2.3]",
            "a@x..co",
        ] {
            let fault = mailbox(text).expect_err(text);
            assert!(fault.starts_with("must be a mail address such as"), "{text}: {fault}");
        }
    }

    #[test]
    fn lists_by_their_grammar() {
        let split = |text: &str| split(text).into_iter().map(|part| part.trim().to_owned()).collect::<Vec<_>>();
        assert_eq!(
            split("\"Doe, Jane\" <jane@corp.test>, li@corp.test"),
            ["\"Doe, Jane\" <jane@corp.test>", "li@corp.test"]
        );
        assert_eq!(split("a@b.co (x, y), c@d.co"), ["a@b.co (x, y)", "c@d.co"]);
        let found = item("a@b.co, Li <c@d.co>").expect("two").len();
        assert_eq!(found, 2);
        assert_eq!(item("Doe, Jane <jane@corp.test>").expect("one").len(), 1);
        assert_eq!(
            part_fault("Doe", Some(&" Jane <jane@corp.example>")),
            "must be a mail address, not \"Doe\"; write \"Doe, Jane\" <jane@corp.example>"
        );
    }
}
