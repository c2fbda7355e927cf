//! The keys that seal secrets: from the environment, else from a file that only its owner can read.

use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use runbell_core::text;
use runbell_store::seal::KeyRing;

/// The environment variable that holds the keys.
pub(crate) const VARIABLE: &str = "RUNBELL_SECRET_KEYS";

/// The keys that seal and open secrets.
///
/// `may_make` says whether a missing file is made: not when the store has secrets, because a new key would not open them.
pub(crate) fn load(file: &Path, may_make: bool) -> anyhow::Result<KeyRing> {
    if let Ok(given) = std::env::var(VARIABLE) {
        return ring(given.split(',')).with_context(|| VARIABLE.to_owned());
    }
    let shown = file.display();
    let text = match fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound && may_make => make(file)?,
        Err(error) if error.kind() == ErrorKind::NotFound => bail!(
            "secrets: the key file {shown} is missing, and the store holds secrets that only its keys open; put it back, or \
             set {VARIABLE}"
        ),
        Err(error) => bail!("secrets: the key file {shown} cannot be read: {}", error.kind()),
    };
    let mode = fs::metadata(file).map_or(0, |about| about.mode());
    if mode & 0o077 != 0 {
        bail!("secrets: the key file {shown} can be read by others; run: chmod 600 {shown}");
    }
    ring(text.lines()).with_context(|| format!("secrets: the key file {shown}"))
}

fn ring<'l>(lines: impl Iterator<Item = &'l str>) -> anyhow::Result<KeyRing> {
    let mut keys = Vec::new();
    for line in lines.map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let pair = line.split_once([' ', '\t', ':']);
        let key = pair.and_then(|(id, key)| {
            let key = STANDARD.decode(key.trim()).ok()?;
            Some((id.to_owned(), <[u8; 32]>::try_from(key).ok()?))
        });
        // The line is a secret, so the message gives its number instead of its text.
        let number = keys.len() + 1;
        keys.push(
            key.with_context(|| format!("key {number}: must be an id and 32 bytes in Base64, such as k1 AAAA…="))?,
        );
    }
    Ok(KeyRing::new(keys)?)
}

/// Makes a file with one new key.
fn make(file: &Path) -> anyhow::Result<String> {
    let mut random = [0; 36];
    getrandom::fill(&mut random).map_err(|_| anyhow::anyhow!("secrets: the system gives no randomness"))?;
    let (id, key) = random.split_at(4);
    let line = format!("k{} {}\n", text::hex(id), STANDARD.encode(key));
    let written = File::options().create_new(true).write(true).mode(0o600).open(file).and_then(|mut made| {
        made.write_all(line.as_bytes())?;
        // Secrets are sealed with it next, so it must survive a crash first.
        made.sync_all()?;
        file.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
    });
    written.map_err(|error| {
        anyhow::anyhow!("secrets: the key file {} cannot be made: {}", file.display(), error.kind())
    })?;
    Ok(line)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_file_is_made_once_and_only_its_owner_reads_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("keys");
        let message = load(&file, false).expect_err("missing").to_string();
        assert!(message.contains("put it back"), "{message}");
        let sealed = load(&file, true).expect("made").seal("p", "n", "text").expect("sealed");
        assert_eq!(fs::metadata(&file).expect("there").mode() & 0o777, 0o600);
        assert_eq!(load(&file, false).expect("read").open("p", "n", &sealed).expect("opened"), "text");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).expect("changed");
        assert!(load(&file, true).expect_err("open to others").to_string().contains("chmod 600"));
    }

    #[test]
    fn keys_are_lines_and_never_quoted() {
        let key = STANDARD.encode([7; 32]);
        let good = format!("# newest first\nk2 {key}\n\nk1:{key}\n");
        assert_eq!(format!("{:?}", ring(good.lines()).expect("two keys")), r#"["k2", "k1"]"#);
        for bad in ["CANARY", "k1 CANARY", "k1 Q0FOQVJZ"] {
            let message = format!("{:#}", ring(bad.lines()).expect_err(bad));
            assert!(message.contains("key 1: must be") && !message.contains("CANARY"), "{message}");
        }
        assert!(ring("".lines()).is_err());
    }
}
