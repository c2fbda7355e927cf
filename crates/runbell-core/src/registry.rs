//! The registry of kinds: a table of plain fn pointers, filled at link time and by name.

use std::collections::BTreeMap;
use std::fmt::{self, Debug};
use std::sync::{Arc, OnceLock};

use schemars::Schema;
use serde_json::Value as Json;

use crate::context::BuildContext;
use crate::error::{Error, ErrorKind, Result};
use crate::findings::{Finding, FindingCode, Findings};
use crate::schema;
use crate::secret::SecretValues;
use crate::sender::{Place, Sender, SenderKind};
use crate::suggest::nearest;
use crate::value::{DecodeFault, Map, decode};

/// The kinds with a feature of the `runbell` crate, for the message that names the feature.
const FEATURES: &[(&str, &str)] = &[
    ("console", "console"),
    ("git", "git"),
    ("ipython", "notebook"),
    ("mail", "mail"),
    ("notebook", "notebook"),
    ("slack", "slack"),
    ("webhook", "webhook"),
];

/// One kind of a plugin crate, with its params' type erased.
pub struct Registration {
    /// Its name.
    pub kind: &'static str,
    /// Other names for it.
    pub aliases: &'static [&'static str],
    /// Where it may be sent from.
    pub place: Place,
    /// The kinds to which it yields.
    pub yields_to: &'static [&'static str],
    /// Whether there is a display for it here.
    pub is_active: fn(&BuildContext) -> bool,
    /// The crate it comes from; named in every conflict.
    pub package: &'static str,
    /// That crate's version.
    pub version: &'static str,
    /// The JSON Schema of its params.
    pub schema: fn() -> Schema,
    /// Fills in missing params from the environment.
    pub complete: fn(&mut Map, &BuildContext),
    /// Every fault and warning of the params, each with its field's path.
    pub check: fn(&Map, &BuildContext) -> Findings,
    /// Builds the sender.
    pub build: fn(&Map, &BuildContext) -> Result<Arc<dyn Sender>>,
}

impl Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Registration({} from {}@{})", self.kind, self.package, self.version)
    }
}

impl Registration {
    /// The registration of `K`. A name that does not fit `[a-z][a-z0-9-]*` does not compile.
    pub const fn of<K: SenderKind>(package: &'static str, version: &'static str) -> Self {
        assert!(is_kind_name(K::KIND), "a kind's name must fit [a-z][a-z0-9-]*");
        Registration {
            kind: K::KIND,
            aliases: K::ALIASES,
            place: K::PLACE,
            yields_to: K::YIELDS_TO,
            is_active: K::is_active,
            package,
            version,
            schema: schema::schema_of::<K::Params>,
            complete: K::complete,
            check: check::<K>,
            build: build::<K>,
        }
    }

    fn origin(&self) -> String {
        format!("{}@{}", self.package, self.version)
    }
}

const fn is_kind_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    if bytes.is_empty() || !bytes[0].is_ascii_lowercase() {
        return false;
    }
    let mut index = 1;
    while index < bytes.len() {
        if !(bytes[index].is_ascii_lowercase() || bytes[index].is_ascii_digit() || bytes[index] == b'-') {
            return false;
        }
        index += 1;
    }
    true
}

fn check<K: SenderKind>(params: &Map, cx: &BuildContext) -> Findings {
    match decode::<K::Params>(params) {
        Ok(typed) => K::validate(&typed, cx),
        Err(error) => {
            let mut found = Findings::default();
            let code = match error.fault {
                DecodeFault::Missing(_) => FindingCode::Required,
                DecodeFault::WrongType { .. } => FindingCode::WrongType,
                DecodeFault::WrongValue { .. } | DecodeFault::Refused => FindingCode::WrongValue,
            };
            found.fault_of(code, error.path, error.fault.to_string());
            found
        }
    }
}

fn build<K: SenderKind>(params: &Map, cx: &BuildContext) -> Result<Arc<dyn Sender>> {
    let typed = decode::<K::Params>(params).map_err(|error| {
        Error::new(ErrorKind::ParamsInvalid, error.fault.to_string()).at(format!("params.{}", error.path))
    })?;
    let mut found = Findings::default();
    found.extend_below("params", K::validate(&typed, cx));
    found.into_result()?;
    Ok(Arc::new(K::build(typed, cx)?))
}

/// A registration as `inventory` collects it: a reference, so that one entry seen twice is one address.
pub struct Registered(pub &'static Registration);

inventory::collect!(Registered);

/// Registers a kind: `register_sender!(Pager);` makes a public static `REGISTRATION` and links it.
///
/// An optional second argument names the static, for a crate with several kinds. Linking does nothing but add a
/// table entry: no I/O, no logging.
///
/// A kind's name is checked when it is compiled:
///
/// ```compile_fail
/// # use runbell_core::{BuildContext, Result, Sender, SenderKind};
/// struct Pager;
/// impl SenderKind for Pager {
///     const KIND: &'static str = "Pager!";
/// #   type Params = ();
/// #   type Sender = NoSender;
/// #   fn build(_: (), _: &BuildContext) -> Result<NoSender> { Ok(NoSender) }
/// }
/// # #[derive(Debug)] struct NoSender;
/// # #[async_trait::async_trait] impl Sender for NoSender {
/// #   fn render(&self, _: &runbell_core::Message) -> Result<runbell_core::Rendered> { panic!() }
/// #   async fn send(&self, _: &runbell_core::Payload, _: &runbell_core::SendContext<'_>) -> Result<runbell_core::Receipt> { panic!() }
/// #   fn limits(&self) -> runbell_core::Limits { panic!() }
/// # }
/// runbell_core::register_sender!(Pager);
/// ```
#[macro_export]
macro_rules! register_sender {
    ($kind:ty) => {
        $crate::register_sender!($kind, REGISTRATION);
    };
    ($kind:ty, $name:ident) => {
        /// This kind's entry in the registry.
        pub static $name: $crate::Registration =
            $crate::Registration::of::<$kind>(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"));
        $crate::inventory::submit! { $crate::Registered(&$name) }
    };
}

/// One kind of a registry.
#[derive(Debug)]
pub struct RegisteredKind {
    registration: &'static Registration,
    schema: OnceLock<Json>,
}

impl RegisteredKind {
    /// Its registration.
    pub fn registration(&self) -> &'static Registration {
        self.registration
    }

    /// The JSON Schema of its params.
    pub fn schema(&self) -> &Json {
        self.schema.get_or_init(|| (self.registration.schema)().to_value())
    }

    /// Fills in missing params from the environment.
    pub fn complete(&self, params: &mut Map, cx: &BuildContext) {
        (self.registration.complete)(params, cx);
    }

    /// Every fault and warning of completed params, each with its field's path.
    pub fn check(&self, params: &Map, cx: &BuildContext) -> Findings {
        let by_schema = schema::check(self.schema(), params);
        let mut found = by_schema.clone();
        let typed = (self.registration.check)(params, cx);
        for finding in typed.iter() {
            // The schema has reported the same fault already, usually with a clearer text.
            let is_same = |other: &Finding| other.code == finding.code && other.path == finding.path;
            let is_known = found.has_fault_at(&finding.path) || by_schema.iter().any(is_same);
            if !is_known {
                found.push(finding.clone());
            }
        }
        found
    }

    /// Builds the sender from completed params.
    ///
    /// # Errors
    /// [`ErrorKind::ParamsInvalid`] for params with a fault in [`check`](Self::check).
    pub fn build(&self, params: &Map, cx: &BuildContext) -> Result<Arc<dyn Sender>> {
        (self.registration.build)(params, cx)
    }

    /// The secret values among `params`.
    pub fn secret_values(&self, params: &Map) -> SecretValues {
        schema::secret_values(self.schema(), params)
    }

    /// `params` with secrets replaced by `mask`.
    pub fn masked(&self, params: &Map, mask: &str) -> Map {
        schema::masked(self.schema(), params, mask)
    }
}

/// The kinds a process can send. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    kinds: Arc<BTreeMap<&'static str, Arc<RegisteredKind>>>,
    names: Arc<BTreeMap<&'static str, &'static str>>,
}

impl Registry {
    /// Every kind that is linked into this binary.
    pub fn linked() -> impl Iterator<Item = &'static Registration> {
        inventory::iter::<Registered>.into_iter().map(|registered| registered.0)
    }

    /// Makes a registry. The order does not matter.
    ///
    /// # Errors
    /// [`ErrorKind::DuplicateKind`] when two crates claim one kind or alias. The same entry again, or one of the
    /// same crate and version, is ignored: a plugin's own tests link it twice.
    pub fn collect(registrations: impl IntoIterator<Item = &'static Registration>) -> Result<Self> {
        let mut registry = Registry::default();
        for registration in registrations {
            registry = registry.with(registration)?;
        }
        Ok(registry)
    }

    /// Adds a kind.
    ///
    /// # Errors
    /// As [`collect`](Self::collect).
    pub fn with(self, registration: &'static Registration) -> Result<Self> {
        for name in names_of(registration) {
            let Some(other) = self.registration_named(name) else { continue };
            if std::ptr::eq(other, registration)
                || (other.kind, other.origin()) == (registration.kind, registration.origin())
            {
                return Ok(self);
            }
            let mut origins = [other.origin(), registration.origin()];
            origins.sort();
            return Err(Error::new(
                ErrorKind::DuplicateKind,
                format!(
                    "kind `{name}` is registered by {} and by {}; leave one out, or make the registry of the ones you want with Registry::collect",
                    origins[0], origins[1]
                ),
            ));
        }
        Ok(self.insert(registration))
    }

    /// Adds a kind; replaces each kind that has its name or one of its aliases.
    #[must_use]
    pub fn replacing(self, registration: &'static Registration) -> Self {
        let replaced: Vec<&'static str> =
            names_of(registration).filter_map(|name| self.registration_named(name)).map(|other| other.kind).collect();
        let kept = self.kinds.values().map(|kind| kind.registration).filter(|kept| !replaced.contains(&kept.kind));
        kept.fold(Registry::default(), Registry::insert).insert(registration)
    }

    fn insert(mut self, registration: &'static Registration) -> Self {
        let kind = Arc::new(RegisteredKind { registration, schema: OnceLock::new() });
        Arc::make_mut(&mut self.kinds).insert(registration.kind, kind);
        let names = Arc::make_mut(&mut self.names);
        names.extend(names_of(registration).map(|name| (name, registration.kind)));
        self
    }

    fn registration_named(&self, name: &str) -> Option<&'static Registration> {
        self.kinds.get(self.names.get(name)?).map(|kind| kind.registration)
    }

    /// The kind of this name or alias.
    ///
    /// # Errors
    /// [`ErrorKind::UnknownKind`], naming the linked kinds and, for one of ours, the feature to enable.
    pub fn get(&self, name: &str) -> Result<&Arc<RegisteredKind>> {
        if let Some(kind) = self.names.get(name).and_then(|kind| self.kinds.get(kind)) {
            return Ok(kind);
        }
        let linked: Vec<&str> = self.kinds.keys().copied().collect();
        let linked = if linked.is_empty() { "none".to_owned() } else { linked.join(", ") };
        let remedy = match FEATURES.iter().find(|(kind, _)| *kind == name) {
            Some((_, feature)) => format!("enable the feature `{feature}` of the crate `runbell`"),
            None => match nearest(name, self.names.keys().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None if self.kinds.contains_key("webhook") => {
                    "a service that takes web hooks is reached by `webhook`; a third-party kind must be linked into the program"
                        .to_owned()
                }
                None => "a third-party kind must be linked: name its crate in the program".to_owned(),
            },
        };
        let name = crate::text::one_line(name, 40);
        let message = format!("`{name}` is not linked (linked: {linked}); {remedy}");
        Err(Error::new(ErrorKind::UnknownKind, message).at("kind"))
    }

    /// All kinds, by name.
    pub fn kinds(&self) -> impl Iterator<Item = &Arc<RegisteredKind>> {
        self.kinds.values()
    }
}

fn names_of(registration: &'static Registration) -> impl Iterator<Item = &'static str> {
    std::iter::once(registration.kind).chain(registration.aliases.iter().copied())
}
