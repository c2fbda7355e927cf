//! Secrets made for a test, found again in whatever form.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// A secret that exists nowhere else.
#[derive(Debug, Clone)]
pub(crate) struct Hidden {
    /// Where it was put.
    pub(crate) place: String,
    pub(crate) text: String,
    halves: [String; 2],
}

impl Hidden {
    /// One with characters in the middle that URLs and JSON write in other ways.
    pub(crate) fn new(place: &str) -> Self {
        let [left, right] = halves(place);
        Hidden { place: place.to_owned(), text: format!("{left}/+&=% \"{right}"), halves: [left, right] }
    }

    /// One that stands in a URL's path as it is.
    pub(crate) fn plain(place: &str) -> Self {
        let [left, right] = halves(place);
        Hidden { place: place.to_owned(), text: format!("{left}{right}"), halves: [left, right] }
    }

    /// One that somebody else made.
    pub(crate) fn given(place: &str, text: &str) -> Self {
        let (left, right) = text.split_at(text.len() / 2);
        let halves = [left, right].map(str::to_owned);
        Hidden { place: place.to_owned(), text: text.to_owned(), halves }
    }

    /// As it is written in the user's part of a URL.
    pub(crate) fn encoded(&self) -> String {
        self.text
            .bytes()
            .map(|byte| match byte {
                b'0'..=b'9' | b'a'..=b'z' => char::from(byte).to_string(),
                other => format!("%{other:02X}"),
            })
            .collect()
    }
}

fn halves(place: &str) -> [String; 2] {
    let key = runbell_core::DeliveryKey::of(&["hidden", place]).to_string();
    let digits = key.strip_prefix("rb_").expect("a key");
    [digits[..16].to_owned(), digits[16..].to_owned()]
}

/// Looks for secrets. A half of one is found too, for a secret that was cut off is one all the same.
pub(crate) struct Search {
    /// Forms by how they begin.
    forms: HashMap<[u8; BEGIN], Vec<(Vec<u8>, String)>>,
    /// Which two bytes any form begins with.
    begins: Vec<bool>,
}

/// How many bytes of a form it is looked up by.
const BEGIN: usize = 8;

impl Search {
    pub(crate) fn of<'h>(all: impl IntoIterator<Item = &'h Hidden>) -> Self {
        let mut search = Search { forms: HashMap::new(), begins: vec![false; 1 << 16] };
        for hidden in all {
            for half in &hidden.halves {
                let bytes = half.as_bytes();
                let lower: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                let mut forms = vec![half.clone(), half.to_uppercase(), lower.to_uppercase(), lower];
                forms.extend(encodings(bytes));
                forms.dedup();
                for form in forms {
                    let form = form.into_bytes();
                    let begin: [u8; BEGIN] = form[..BEGIN].try_into().expect("long enough");
                    search.begins[usize::from(u16::from_be_bytes([begin[0], begin[1]]))] = true;
                    search.forms.entry(begin).or_default().push((form, hidden.place.clone()));
                }
            }
        }
        search
    }

    /// Where the secrets were put that stand in this, as they are or encoded: Base64, hexadecimal, percent, JSON's escapes.
    pub(crate) fn found(&self, text: &[u8]) -> Vec<String> {
        let mut found = Vec::new();
        for text in [text.to_vec(), percent_decoded(text), unescaped(text)] {
            for (at, pair) in text.windows(BEGIN).enumerate() {
                if !self.begins[usize::from(u16::from_be_bytes([pair[0], pair[1]]))] {
                    continue;
                }
                let begin: [u8; BEGIN] = pair.try_into().expect("as long");
                let forms = self.forms.get(&begin).into_iter().flatten();
                found.extend(forms.filter(|(form, _)| text[at..].starts_with(form)).map(|(_, place)| place.clone()));
            }
        }
        found.sort();
        found.dedup();
        found
    }

    /// What is wrong with this: nothing, unless a secret stands in it.
    pub(crate) fn leaks(&self, what: &str, text: &[u8]) -> Vec<String> {
        let found = self.found(text);
        if found.is_empty() {
            return Vec::new();
        }
        vec![format!("{what} holds secrets of {found:?}:\n{}", excerpt(self, text))]
    }
}

/// What stands around the first few secrets.
fn excerpt(search: &Search, text: &[u8]) -> String {
    let parts = text.chunks(160).filter(|part| !search.found(part).is_empty());
    parts.take(3).map(|part| format!("    … {}\n", String::from_utf8_lossy(part).escape_debug())).collect()
}

fn percent_decoded(text: &[u8]) -> Vec<u8> {
    percent_encoding::percent_decode(text).collect()
}

/// Undoes JSON's escapes: a mark and four hexadecimal digits.
fn unescaped(text: &[u8]) -> Vec<u8> {
    let (mark, digits) = (b"\\u", 4);
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(&byte) = rest.first() {
        let code = rest.strip_prefix(mark).and_then(|rest| rest.get(..digits));
        let code = code.and_then(|code| u32::from_str_radix(std::str::from_utf8(code).ok()?, 16).ok());
        match code.and_then(|code| u8::try_from(code).ok()) {
            Some(code) => {
                out.push(code);
                rest = &rest[mark.len() + digits..];
            }
            None => {
                out.push(byte);
                rest = &rest[1..];
            }
        }
    }
    out
}

/// Base64 at the three places it can start at, without the characters that depend on what stands beside.
fn encodings(bytes: &[u8]) -> Vec<String> {
    let mut all = Vec::new();
    for (lead, start) in [(0, 0), (1, 2), (2, 3)] {
        let led = [&b"\0\0"[..lead], bytes].concat();
        let whole = led.len() / 3 * 4;
        let encoded = [STANDARD_NO_PAD.encode(&led), URL_SAFE_NO_PAD.encode(&led)];
        all.extend(encoded.map(|text| text[start..whole].to_owned()));
    }
    all
}

#[test]
fn a_secret_is_found_in_every_form() {
    let (hidden, other) = (Hidden::new("a place"), Hidden::plain("elsewhere"));
    let search = Search::of([&hidden, &other]);
    let secret = &hidden.text;
    let base64 = |lead: &str| STANDARD.encode(format!("{lead}{secret}"));
    for form in [
        secret.clone(),
        secret.to_uppercase(),
        secret[..20].to_owned(),
        secret.bytes().map(|byte| format!("{byte:02x}")).collect(),
        secret.bytes().map(|byte| format!("{byte:02X}")).collect(),
        secret.bytes().map(|byte| format!("%{byte:02x}")).collect(),
        secret.bytes().map(|byte| format!("\\u{byte:04x}")).collect(),
        hidden.encoded(),
        base64(""),
        base64("a"),
        base64("ab"),
    ] {
        assert_eq!(search.found(format!("\0x{form}y").as_bytes()), ["a place"], "{form}");
    }
    assert!(search.found(b"nothing % \\u00 %zz here").is_empty());
}
