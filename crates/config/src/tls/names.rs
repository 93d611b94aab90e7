//! The names of versions, ciphers and groups, as OpenSSL and PgBouncer have
//! them.
//!
//! Source: PgBouncer documentation, "TLS settings"; openssl-ciphers(1).

/// Versions of TLS that may be spoken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TlsVersions {
    /// TLS 1.2.
    pub v1_2: bool,
    /// TLS 1.3.
    pub v1_3: bool,
}

/// One of the versions of TLS.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TlsVersion {
    /// TLS 1.2.
    V1_2,
    /// TLS 1.3.
    V1_3,
}

impl TlsVersions {
    /// All that are offered.
    pub const ALL: Self = Self {
        v1_2: true,
        v1_3: true,
    };

    /// Whether `version` is among them.
    pub fn has(self, version: TlsVersion) -> bool {
        match version {
            TlsVersion::V1_2 => self.v1_2,
            TlsVersion::V1_3 => self.v1_3,
        }
    }

    fn set(&mut self, name: &str, on: bool) -> Known {
        match name {
            "tlsv1.2" => self.v1_2 = on,
            "tlsv1.3" => self.v1_3 = on,
            "secure" | "default" => (self.v1_2, self.v1_3) = (on, on),
            "tlsv1" | "all" | "legacy" => {
                (self.v1_2, self.v1_3) = (on, on);
                return Known::InPart;
            }
            "tlsv1.0" | "tlsv1.1" => return Known::NotOffered,
            _ => return Known::No,
        }
        Known::Yes
    }
}

/// How far a name of a version is known.
enum Known {
    Yes,
    /// It means versions, some of which are not offered.
    InPart,
    NotOffered,
    No,
}

/// The versions of a list such as `tlsv1.2,tlsv1.3` or `all:!tlsv1.2`, and what
/// of it is not offered.
pub(super) fn versions(text: &str) -> Result<(TlsVersions, Vec<String>), String> {
    let mut versions = TlsVersions {
        v1_2: false,
        v1_3: false,
    };
    let mut left_out = Vec::new();
    for word in words(text) {
        let (name, on) = match word.strip_prefix('!') {
            Some(name) => (name, false),
            None => (word, true),
        };
        match versions.set(&name.to_ascii_lowercase(), on) {
            Known::Yes => {}
            Known::InPart if on => left_out.push("tlsv1.0 and tlsv1.1".to_owned()),
            Known::NotOffered if on => left_out.push(name.to_owned()),
            Known::InPart | Known::NotOffered => {}
            Known::No => {
                return Err(format!(
                    "bad value \"{word}\", expected tlsv1.2, tlsv1.3, secure, all or legacy"
                ));
            }
        }
    }
    if versions.v1_2 || versions.v1_3 {
        Ok((versions, left_out))
    } else if left_out.is_empty() {
        Err("names no version, expected tlsv1.2, tlsv1.3, secure, all or legacy".to_owned())
    } else {
        Err("TLS 1.0 and 1.1 are not offered, expected tlsv1.2 or tlsv1.3".to_owned())
    }
}

/// Declares an enum of things that have a name.
macro_rules! named {
    ($(#[doc = $doc:literal])+ $name:ident { $($(#[doc = $one_doc:literal])+ $one:ident = $text:literal,)+ }) => {
        $(#[doc = $doc])+
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub enum $name {
            $($(#[doc = $one_doc])+ $one,)+
        }

        impl $name {
            /// All of them, in the order in which they are preferred.
            pub const ALL: &[Self] = &[$(Self::$one),+];

            /// The name that OpenSSL has for it.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$one => $text,)+
                }
            }

            fn named(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|one| one.as_str().eq_ignore_ascii_case(name))
            }
        }
    };
}

named! {
    /// A cipher suite.
    TlsSuite {
        /// AES with 256 bits, TLS 1.3.
        Aes256 = "TLS_AES_256_GCM_SHA384",
        /// AES with 128 bits, TLS 1.3.
        Aes128 = "TLS_AES_128_GCM_SHA256",
        /// ChaCha20, TLS 1.3.
        ChaCha20 = "TLS_CHACHA20_POLY1305_SHA256",
        /// AES with 256 bits for ECDSA certificates, TLS 1.2.
        EcdsaAes256 = "ECDHE-ECDSA-AES256-GCM-SHA384",
        /// AES with 128 bits for ECDSA certificates, TLS 1.2.
        EcdsaAes128 = "ECDHE-ECDSA-AES128-GCM-SHA256",
        /// ChaCha20 for ECDSA certificates, TLS 1.2.
        EcdsaChaCha20 = "ECDHE-ECDSA-CHACHA20-POLY1305",
        /// AES with 256 bits for RSA certificates, TLS 1.2.
        RsaAes256 = "ECDHE-RSA-AES256-GCM-SHA384",
        /// AES with 128 bits for RSA certificates, TLS 1.2.
        RsaAes128 = "ECDHE-RSA-AES128-GCM-SHA256",
        /// ChaCha20 for RSA certificates, TLS 1.2.
        RsaChaCha20 = "ECDHE-RSA-CHACHA20-POLY1305",
    }
}

named! {
    /// A group for the key exchange.
    TlsGroup {
        /// Curve25519.
        X25519 = "X25519",
        /// NIST P-256.
        P256 = "prime256v1",
        /// NIST P-384.
        P384 = "secp384r1",
        /// Curve25519 together with ML-KEM-768.
        X25519MlKem768 = "X25519MLKEM768",
    }
}

impl TlsSuite {
    /// The version that it is for.
    pub fn version(self) -> TlsVersion {
        match self {
            Self::Aes256 | Self::Aes128 | Self::ChaCha20 => TlsVersion::V1_3,
            _ => TlsVersion::V1_2,
        }
    }

    fn of(version: TlsVersion) -> Vec<Self> {
        let all = Self::ALL.iter().copied();
        all.filter(|suite| suite.version() == version).collect()
    }
}

impl TlsGroup {
    /// Those of `auto`.
    pub const DEFAULT: &[Self] = Self::ALL;
}

/// The suites of TLS 1.2 that a list of OpenSSL's names means, in its order, and
/// what of it is not offered.
///
/// Of OpenSSL's language there are names, the words that mean all that is good,
/// and `!`, `-` and `+` before anything. Its security levels are not offered, nor is
/// the choice of the system.
pub(super) fn suites(text: &str) -> Result<(Vec<TlsSuite>, Vec<String>), String> {
    let mut suites: Vec<TlsSuite> = Vec::new();
    let (mut banned, mut left_out) = (Vec::new(), Vec::new());
    let add = |suites: &mut Vec<TlsSuite>, more: Vec<TlsSuite>| {
        for suite in more {
            if !suites.contains(&suite) {
                suites.push(suite);
            }
        }
    };
    for word in words(text) {
        let (word, level) = word.split_at(word.find('@').unwrap_or(word.len()));
        if !level.is_empty() {
            left_out.push(level.to_owned());
        }
        if word.is_empty() {
            continue;
        }
        if word.starts_with("PROFILE=") {
            left_out.push(word.to_owned());
            add(&mut suites, meant("DEFAULT"));
        } else if let Some(name) = word.strip_prefix('!') {
            banned.extend(meant(name));
        } else if let Some(name) = word.strip_prefix('-') {
            let gone = meant(name);
            suites.retain(|suite| !gone.contains(suite));
        } else if let Some(name) = word.strip_prefix('+') {
            let last = meant(name);
            suites.sort_by_key(|suite| last.contains(suite));
        } else {
            match meant(word) {
                more if more.is_empty() => left_out.push(word.to_owned()),
                more => add(&mut suites, more),
            }
        }
    }
    suites.retain(|suite| !banned.contains(suite));
    none_left(&suites, &left_out, &TlsSuite::of(TlsVersion::V1_2))?;
    Ok((suites, left_out))
}

/// The suites of TLS 1.2 that one word of a list means.
fn meant(word: &str) -> Vec<TlsSuite> {
    let all = TlsSuite::of(TlsVersion::V1_2);
    let of = |part: &str| {
        let with = all.iter().copied();
        with.filter(|suite| suite.as_str().contains(part)).collect()
    };
    match word.to_ascii_uppercase().as_str() {
        "DEFAULT" | "SECURE" | "COMPAT" | "NORMAL" | "FAST" | "ALL" | "HIGH" | "ECDHE"
        | "EECDH" | "KECDHE" | "KEECDH" | "AEAD" | "TLSV1.2" => all,
        "AESGCM" => of("GCM"),
        "CHACHA20" => of("CHACHA20"),
        "AES" => of("-AES"),
        "AES128" => of("AES128"),
        "AES256" => of("AES256"),
        "ARSA" => of("-RSA-"),
        "ECDSA" | "AECDSA" => of("ECDSA"),
        _ => {
            // Several with a plus mean what all of them mean.
            if let Some((first, rest)) = word.split_once('+') {
                let rest = meant(rest);
                let mut both = meant(first);
                both.retain(|suite| rest.contains(suite));
                return both;
            }
            let one = TlsSuite::named(word);
            one.filter(|suite| suite.version() == TlsVersion::V1_2)
                .into_iter()
                .collect()
        }
    }
}

/// The suites of TLS 1.3 that a list names, all when it is empty, and what of it
/// is not offered.
pub(super) fn suites13(text: &str) -> Result<(Vec<TlsSuite>, Vec<String>), String> {
    let all = TlsSuite::of(TlsVersion::V1_3);
    if words(text).next().is_none() {
        return Ok((all, Vec::new()));
    }
    let of = |name: &str| TlsSuite::named(name).filter(|suite| all.contains(suite));
    let (suites, left_out) = sorted(text, of);
    none_left(&suites, &left_out, &all)?;
    Ok((suites, left_out))
}

/// The groups that a list names, and what of it is not offered.
pub(super) fn groups(text: &str) -> Result<(Vec<TlsGroup>, Vec<String>), String> {
    if text.eq_ignore_ascii_case("auto") {
        return Ok((TlsGroup::DEFAULT.to_vec(), Vec::new()));
    }
    let of = |name: &str| match name.to_ascii_lowercase().as_str() {
        "p-256" | "secp256r1" => Some(TlsGroup::P256),
        "p-384" => Some(TlsGroup::P384),
        _ => TlsGroup::named(name),
    };
    let (groups, left_out) = sorted(text, of);
    if groups.is_empty() {
        let names: Vec<_> = TlsGroup::ALL.iter().map(|group| group.as_str()).collect();
        return Err(format!(
            "names no curve that is offered, expected auto or some of {}",
            names.join(":")
        ));
    }
    Ok((groups, left_out))
}

/// What the words of a list are, and those that are nothing.
fn sorted<T: PartialEq>(text: &str, of: impl Fn(&str) -> Option<T>) -> (Vec<T>, Vec<String>) {
    let (mut known, mut unknown) = (Vec::new(), Vec::new());
    for word in words(text) {
        match of(word) {
            Some(one) if !known.contains(&one) => known.push(one),
            Some(_) => {}
            None => unknown.push(word.to_owned()),
        }
    }
    (known, unknown)
}

fn none_left(suites: &[TlsSuite], left_out: &[String], all: &[TlsSuite]) -> Result<(), String> {
    if !suites.is_empty() {
        return Ok(());
    }
    let all: Vec<_> = all.iter().map(|suite| suite.as_str()).collect();
    let none = match left_out {
        [] => "names no cipher".to_owned(),
        some => format!("none of {} is offered", some.join(", ")),
    };
    Err(format!("{none}, expected some of {}", all.join(":")))
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    let parts = text.split([':', ';', ',', ' ']);
    parts.map(str::trim).filter(|word| !word.is_empty())
}
