//! Access tokens: their form and their permissions.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use runbell_core::{Timestamp, text};
use runbell_store::{Store, StoreError, TokenRecord};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// The prefix of a token, so that scanners for leaked secrets find it.
const PREFIX: &str = "rbt_";

/// The entry for every project, in a token's list.
pub(crate) const ANY: &str = "*";

/// The caller of a request.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) admin: bool,
    projects: Vec<String>,
}

impl Caller {
    /// A caller who may do everything: on loopback of a server without tokens, or the owner of the store's file.
    pub(crate) fn trusted() -> Self {
        Caller { admin: true, projects: Vec::new() }
    }

    /// Whether the caller may use a project. Only administrators may use the server's own projects.
    pub(crate) fn may_use(&self, project: &str) -> bool {
        let listed = self.projects.iter().any(|one| one == project || one == ANY);
        self.admin || (listed && !project.starts_with('_'))
    }
}

/// The valid tokens, kept in memory.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tokens(Arc<RwLock<Known>>);

#[derive(Debug, Default)]
struct Known {
    by_id: HashMap<String, ([u8; 32], Caller)>,
    /// The store has, or had, a token: from then on every request needs one.
    any: bool,
}

impl Tokens {
    /// Reads them from the store.
    pub(crate) async fn load(&self, store: &dyn Store) -> Result<(), StoreError> {
        let all = store.tokens().await?;
        let any = !all.is_empty();
        let valid = all.into_iter().filter(|token| token.revoked_at.is_none());
        let caller = |token: &TokenRecord| Caller { admin: token.admin, projects: token.projects.clone() };
        let by_id = valid.map(|token| (token.id.clone(), (token.hash, caller(&token)))).collect();
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Known { by_id, any };
        Ok(())
    }

    /// Whether requests need one.
    pub(crate) fn are_used(&self) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).any
    }

    /// The caller with this token; `None` when it is invalid or revoked. The secret part is compared in constant time.
    pub(crate) fn caller(&self, token: &str) -> Option<Caller> {
        let (id, secret) = token.strip_prefix(PREFIX)?.split_once('_')?;
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let (hash, caller) = known.by_id.get(id)?;
        bool::from(hash_of(secret).ct_eq(hash)).then(|| caller.clone())
    }
}

fn hash_of(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

/// Makes a token: the text that is shown once, and the record that is stored. `None` when the system gives no randomness.
pub(crate) fn make(name: &str, admin: bool, projects: Vec<String>, now: Timestamp) -> Option<(String, TokenRecord)> {
    let mut random = [0; 24];
    getrandom::fill(&mut random).ok()?;
    let (id, secret) = (text::hex(&random[..4]), text::hex(&random[4..]));
    let record = TokenRecord {
        id: id.clone(),
        name: name.to_owned(),
        hash: hash_of(&secret),
        admin,
        projects,
        created_at: now,
        revoked_at: None,
    };
    Some((format!("{PREFIX}{id}_{secret}"), record))
}
