//! Values that several commands take: grants of directories, environment variables, functions to interpret, named
//! modules, proposals. Each parses itself, and says what it expected.

use std::path::PathBuf;
use std::str::FromStr;
use wasmc_environ::features::Features;
use wasmc_environ::jit::Interpret;

/// `HOST[::GUEST]`.
#[derive(Clone, Debug)]
pub struct DirGrant {
    pub host: PathBuf,
    pub guest: String,
    pub read_only: bool,
}

impl FromStr for DirGrant {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        let (s, read_only) = match s.strip_suffix(":ro") {
            // `HOST::ro` is a guest directory named ro.
            Some(rest) if !rest.ends_with(':') => (rest, true),
            _ => (s, false),
        };
        let (host, guest) = s.split_once("::").unwrap_or((s, s));
        if host.is_empty() || guest.is_empty() {
            return Err("expected HOST or HOST::GUEST, neither empty, with :ro behind it for read-only".into());
        }
        Ok(Self { host: host.into(), guest: guest.into(), read_only })
    }
}

/// `NAME=VALUE`; NAME alone takes the value from wasmc's own environment.
#[derive(Clone, Debug)]
pub struct EnvVar {
    pub name: String,
    pub value: String,
}

impl FromStr for EnvVar {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        if let Some((name, value)) = s.split_once('=') {
            if name.is_empty() {
                return Err("expected NAME=VALUE".into());
            }
            return Ok(Self { name: name.into(), value: value.into() });
        }
        match std::env::var(s) {
            Ok(value) => Ok(Self { name: s.into(), value }),
            Err(std::env::VarError::NotPresent) => Err(format!("{s} is not set in the environment; give its value as {s}=VALUE")),
            Err(e) => Err(e.to_string()),
        }
    }
}

/// `NAME=FILE`.
#[derive(Clone, Debug)]
pub struct NamedModule {
    pub name: String,
    pub path: PathBuf,
}

impl FromStr for NamedModule {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        match s.split_once('=') {
            Some((name, path)) if !name.is_empty() && !path.is_empty() => Ok(Self { name: name.into(), path: path.into() }),
            _ => Err("expected NAME=FILE".into()),
        }
    }
}

/// A function to leave uncompiled.
pub fn parse_interpret(s: &str) -> Result<Interpret, String> {
    Ok(match s {
        "" => return Err("expected a name, an index, all or odd".into()),
        "all" => Interpret::All,
        "odd" => Interpret::Odd,
        _ => s.parse().map_or_else(|_| Interpret::Name(s.to_owned()), Interpret::Index),
    })
}

/// `name=y|n` switches a proposal.
#[derive(Clone, Debug)]
pub struct FeatureSwitch {
    name: String,
    on: bool,
}

impl FromStr for FeatureSwitch {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        let (name, value) = s.split_once('=').unwrap_or((s, "y"));
        let on = match value {
            "y" | "yes" | "true" | "on" => true,
            "n" | "no" | "false" | "off" => false,
            _ => return Err(format!("expected y or n after {name}=, not `{value}`")),
        };
        if Features::default().get(name).is_none() {
            let known: Vec<_> = Features::ALL.iter().map(|f| f.name).collect();
            return Err(format!("no proposal is called `{name}`; there are {}", known.join(", ")));
        }
        Ok(Self { name: name.to_owned(), on })
    }
}

/// The proposals that are on by default after these switches.
pub fn features(switches: &[FeatureSwitch]) -> Features {
    apply(Features::default(), switches)
}

/// The proposals that are on after these switches, if these were before.
pub fn apply(mut features: Features, switches: &[FeatureSwitch]) -> Features {
    for s in switches {
        features.set(&s.name, s.on);
    }
    features
}

/// What the switches say about a proposal; the last one counts.
pub fn switched(switches: &[FeatureSwitch], name: &str) -> Option<bool> {
    switches.iter().rev().find(|s| s.name == name).map(|s| s.on)
}
