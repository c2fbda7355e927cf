//! Signatures after the Standard Webhooks specification 1.0: HMAC-SHA256 over `id.timestamp.body`.

use std::fmt::{self, Debug};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// The specification's prefix of a symmetric secret.
const PREFIX: &str = "whsec_";

/// The lengths of a secret that the specification allows, in bytes.
const LENGTHS: std::ops::RangeInclusive<usize> = 24..=64;

/// Signs with one or more secrets.
#[derive(Clone)]
pub(crate) struct Signer(Vec<Hmac<Sha256>>);

impl Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({})", self.0.len())
    }
}

impl Signer {
    /// Takes secrets separated by white space. The fault names the right form and never quotes them.
    pub(crate) fn new(secrets: &str) -> Result<Self, &'static str> {
        let keys = secrets.split_whitespace().map(key).collect::<Result<Vec<_>, _>>()?;
        if keys.is_empty() { Err("must hold a secret that starts with `whsec_`") } else { Ok(Signer(keys)) }
    }

    /// The header's value: a signature for each secret, in their order.
    pub(crate) fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let mut signatures = String::new();
        for key in &self.0 {
            let mut mac = key.clone();
            mac.update(id.as_bytes());
            mac.update(b".");
            mac.update(timestamp.to_string().as_bytes());
            mac.update(b".");
            mac.update(body);
            signatures.push_str(if signatures.is_empty() { "v1," } else { " v1," });
            STANDARD.encode_string(mac.finalize().into_bytes(), &mut signatures);
        }
        signatures
    }
}

fn key(secret: &str) -> Result<Hmac<Sha256>, &'static str> {
    let encoded = secret.strip_prefix(PREFIX).ok_or("must start with `whsec_`")?;
    let bytes = STANDARD.decode(encoded).map_err(|_| "must be `whsec_` and valid Base64")?;
    if !LENGTHS.contains(&bytes.len()) {
        return Err("must be `whsec_` and the Base64 of 24 to 64 bytes");
    }
    Hmac::new_from_slice(&bytes).map_err(|_| "cannot be used as a key")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification's reference libraries.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    #[test]
    fn the_specifications_example() {
        let signer = Signer::new(SECRET).expect("a secret");
        let signature = signer.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn each_secret_signs() {
        let both = format!(" {SECRET}  whsec_{} ", STANDARD.encode([7; 24]));
        let signature = Signer::new(&both).expect("two secrets").sign("id", 1, b"body");
        let parts: Vec<&str> = signature.split(' ').collect();
        assert!(parts.len() == 2 && parts[0] != parts[1] && parts.iter().all(|part| part.starts_with("v1,")));
    }

    #[test]
    fn bad_secrets_are_refused_without_quoting_them() {
        for (secret, fault) in [
            (String::new(), "must hold a secret"),
            ("hunter2".to_owned(), "must start with"),
            ("whsec_!!".to_owned(), "valid Base64"),
            (format!("whsec_{}", STANDARD.encode([0; 23])), "24 to 64 bytes"),
            (format!("whsec_{}", STANDARD.encode([0; 65])), "24 to 64 bytes"),
            (format!("{SECRET} whsec_"), "24 to 64 bytes"),
        ] {
            let found = Signer::new(&secret).expect_err("a fault");
            assert!(found.contains(fault), "{found}");
        }
    }
}
