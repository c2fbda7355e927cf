//! Seals secrets: XChaCha20-Poly1305, the key named by an id, bound to the project and the secret's name.
//!
//! A sealed secret is the key's id (16 bytes of text, padded), a random nonce (24 bytes), and the encrypted text. It does
//! not open under another project or name.

use std::fmt::{self, Debug};

use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{Key, KeyInit, XChaCha20Poly1305, XNonce};
use runbell_core::{Error, ErrorKind, Result};

const ID: usize = 16;
const NONCE: usize = 24;

/// The keys that seal secrets. The first seals; all open, so that a key can be replaced.
#[derive(Clone)]
pub struct KeyRing(Vec<(String, XChaCha20Poly1305)>);

impl Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(id, _)| id)).finish()
    }
}

impl KeyRing {
    /// Keys by their ids, the one that seals first.
    ///
    /// # Errors
    /// [`ErrorKind::ParamsInvalid`] when there is none, an id is empty or longer than 16 bytes, or is used twice.
    pub fn new(keys: impl IntoIterator<Item = (String, [u8; 32])>) -> Result<Self> {
        let invalid = |message: String| Error::new(ErrorKind::ParamsInvalid, message);
        let mut ring: Vec<(String, XChaCha20Poly1305)> = Vec::new();
        for (id, key) in keys {
            if id.is_empty() || id.len() > ID || !id.bytes().all(|byte| byte.is_ascii_graphic()) {
                return Err(invalid(format!("secrets: a key's id must have 1 to {ID} printable characters")));
            }
            if ring.iter().any(|(known, _)| *known == id) {
                return Err(invalid(format!("secrets: the key id `{id}` is used twice")));
            }
            ring.push((id, XChaCha20Poly1305::new(&Key::from(key))));
        }
        if ring.is_empty() {
            return Err(invalid("secrets: there is no key".to_owned()));
        }
        Ok(KeyRing(ring))
    }

    /// No keys: cannot seal or open. For callers without secrets.
    pub fn none() -> Self {
        KeyRing(Vec::new())
    }

    /// Whether there are no keys.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Seals `text`, with a nonce of the system's randomness: with 24 bytes it does not repeat in practice.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`] when the system has no randomness, or for a text too long for the cipher (256 GiB).
    pub fn seal(&self, project: &str, name: &str, text: &str) -> Result<Vec<u8>> {
        let mut nonce = [0; NONCE];
        getrandom::fill(&mut nonce).map_err(|_| Error::new(ErrorKind::Internal, "the system gives no randomness"))?;
        let Some((id, cipher)) = self.0.first() else { return Err(Error::new(ErrorKind::Internal, "there is no key")) };
        let bound = bound(project, name);
        let payload = Payload { msg: text.as_bytes(), aad: &bound };
        let encrypted = cipher
            .encrypt(&XNonce::from(nonce), payload)
            .map_err(|_| Error::new(ErrorKind::Internal, "a secret cannot be sealed"))?;
        let mut sealed = vec![0; ID];
        sealed[..id.len()].copy_from_slice(id.as_bytes());
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(&encrypted);
        Ok(sealed)
    }

    /// Opens what [`seal`](Self::seal) made for the same project and name.
    ///
    /// # Errors
    /// [`ErrorKind::SecretNotFound`] when its key is not in the ring, or it was changed or moved.
    pub fn open(&self, project: &str, name: &str, sealed: &[u8]) -> Result<String> {
        let broken = || {
            Error::new(
                ErrorKind::SecretNotFound,
                "a stored secret cannot be opened; its key is missing from the key file",
            )
        };
        let (id, rest) = sealed.split_at_checked(ID).ok_or_else(broken)?;
        let (nonce, encrypted) = rest.split_at_checked(NONCE).ok_or_else(broken)?;
        let id = id.split(|byte| *byte == 0).next().unwrap_or_default();
        let (_, cipher) = self.0.iter().find(|(known, _)| known.as_bytes() == id).ok_or_else(broken)?;
        let nonce = <[u8; NONCE]>::try_from(nonce).map_err(|_| broken())?;
        let bound = bound(project, name);
        let opened =
            cipher.decrypt(&XNonce::from(nonce), Payload { msg: encrypted, aad: &bound }).map_err(|_| broken())?;
        String::from_utf8(opened).map_err(|_| broken())
    }

    /// Whether it was sealed with the key that seals now; if not, it is to be sealed again.
    pub fn is_current(&self, sealed: &[u8]) -> bool {
        let id = sealed.get(..ID).and_then(|id| id.split(|byte| *byte == 0).next());
        self.0.first().is_some_and(|(first, _)| id == Some(first.as_bytes()))
    }
}

/// The data bound to a sealed secret; the length separates project and name.
fn bound(project: &str, name: &str) -> Vec<u8> {
    let mut bound = (project.len() as u64).to_be_bytes().to_vec();
    bound.extend_from_slice(project.as_bytes());
    bound.extend_from_slice(name.as_bytes());
    bound
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(ids: &[&str]) -> KeyRing {
        KeyRing::new(ids.iter().map(|id| ((*id).to_owned(), [id.len() as u8; 32]))).expect("keys")
    }

    #[test]
    fn a_sealed_secret_opens_only_under_its_project_and_name() {
        let keys = ring(&["one"]);
        let sealed = keys.seal("p", "n", "CANARY").expect("sealed");
        assert!(!sealed.windows(6).any(|window| window == b"CANARY"));
        assert_eq!(keys.open("p", "n", &sealed).expect("opened"), "CANARY");
        for (project, name) in [("p", "m"), ("q", "n"), ("pn", "")] {
            assert!(keys.open(project, name, &sealed).is_err());
        }
        let mut changed = sealed.clone();
        *changed.last_mut().expect("bytes") ^= 1;
        assert!(keys.open("p", "n", &changed).is_err() && keys.open("p", "n", &sealed[..30]).is_err());
    }

    #[test]
    fn a_key_can_be_replaced() {
        let old = ring(&["one"]).seal("p", "n", "secret").expect("sealed");
        let both = ring(&["newer", "one"]);
        assert_eq!(both.open("p", "n", &old).expect("opened"), "secret");
        let new = both.seal("p", "n", "secret").expect("sealed");
        assert!(ring(&["one"]).open("p", "n", &new).is_err());
        assert_eq!(format!("{both:?}"), r#"["newer", "one"]"#);
        for bad in [&[][..], &[""][..], &["a-name-longer-than-sixteen"][..], &["one", "one"][..]] {
            assert!(KeyRing::new(bad.iter().map(|id| ((*id).to_owned(), [0; 32]))).is_err(), "{bad:?}");
        }
    }
}
