//! Finds public type names that two crates give to different things.
//!
//! A re-export gives no name, so only where a type is defined counts. `pub` means exported: the lint `unreachable_pub`
//! refuses it elsewhere.

use std::collections::BTreeMap;

use crate::source::{Token, tokens};

/// Definitions of types: the name, and the files that define it, each with its crate in front.
pub(crate) type Definitions = BTreeMap<String, Vec<(String, String)>>;

/// Adds what a file of a crate defines.
pub(crate) fn collect(package: &str, file: &str, text: &str, into: &mut Definitions) {
    let tokens = tokens(text);
    for three in tokens.windows(3) {
        let [Token::Word(public), Token::Word(what), Token::Word(name)] = three else { continue };
        if public == "pub" && ["struct", "enum", "trait", "type", "union"].contains(&what.as_str()) {
            into.entry(name.clone()).or_default().push((package.to_owned(), file.to_owned()));
        }
    }
}

/// The names that more than one crate defines, each with who defines it.
pub(crate) fn shared(definitions: &Definitions) -> Vec<(&str, Vec<&(String, String)>)> {
    let by_several = definitions.iter().filter(|(_, by)| by.iter().any(|(package, _)| *package != by[0].0));
    by_several.map(|(name, by)| (name.as_str(), by.iter().collect())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_belongs_to_one_crate() {
        let mut definitions = Definitions::new();
        for (package, file, text) in [
            ("a", "lib.rs", "pub struct Outcome;\npub(crate) struct Place;\npub trait Kind {}"),
            ("b", "lib.rs", "pub use a::Kind;\nmod x;\n#[cfg(test)]\nmod tests { pub struct Kind; }"),
            ("b", "x.rs", "// pub struct Kind;\npub enum Outcome { A }\npub struct Place;\npub fn Kind() {}"),
            ("b", "y.rs", "pub type Place = u8;"),
        ] {
            collect(package, file, text, &mut definitions);
        }
        let found: Vec<String> = shared(&definitions)
            .into_iter()
            .map(|(name, by)| {
                format!("{name}: {}", by.iter().map(|(p, f)| format!("{p}/{f}")).collect::<Vec<_>>().join(" "))
            })
            .collect();
        assert_eq!(found, ["Outcome: a/lib.rs b/x.rs"]);
    }
}
