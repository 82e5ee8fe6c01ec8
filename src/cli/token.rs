//! `quire token`: issues tokens for operators and tests, and shows what a token says.
//!
//! A token is read from a file or from stdin and never from the command line, which other users of
//! the machine see and a shell remembers. Its signature is not printed: without it, what is printed
//! opens nothing.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Subcommand;
use humantime_serde::re::humantime::parse_duration;
use secrecy::{ExposeSecret, SecretSlice};
use serde_json::{Value, json};

use crate::access::Subject;
use crate::auth::{
    Claims, Draft, GRANTS_MAX, Grant, Key, KeyId, KeySet, Policy, Refusal, SigningKey, TokenId,
    Unverified, issue, jwks, verify,
};
use crate::cli::config::Output;
use crate::cli::exit::Exit;
use crate::cli::table::many_lines;
use crate::clock::Clock;
use crate::types::{Author, Timestamp};

/// The longest key file, in bytes; a JWKS document may be that long.
const FILE_BYTES_MAX: u64 = jwks::JWKS_BYTES_MAX as u64;

/// Holds the arguments of `quire token`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How to print
    #[arg(long, global = true, value_enum, default_value_t = Output::Table)]
    output: Output,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Sign a token and print it
    Issue(Issue),
    /// Show what a token says and whether it holds; exit code 1 if it does not
    Inspect(Inspect),
}

#[derive(Debug, clap::Args)]
struct Issue {
    /// Who it is for: a name that stays the same for ever
    #[arg(long, value_name = "NAME")]
    sub: Subject,
    /// What others see [default: the beginning of --sub]
    #[arg(long)]
    name: Option<Author>,
    /// Which documents, and what may be done: acme.*=read,write; may be given more than once
    #[arg(long, value_name = "PATTERN=RIGHT,...", value_parser = grant)]
    rights: Vec<Grant>,
    /// How long it is valid: 1 s to 31 days
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "1h")]
    ttl: Duration,
    /// Private key in PEM, or a shared secret
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Id of the key, as servers know it
    #[arg(long, value_name = "ID")]
    kid: Option<KeyId>,
    /// Which server it is for
    #[arg(long, value_name = "NAME", default_value = "quire")]
    aud: String,
    /// Who issues it
    #[arg(long, value_name = "NAME")]
    iss: Option<String>,
    /// Id of the token, to revoke it by [default: random]
    #[arg(long, value_name = "ID")]
    jti: Option<TokenId>,
}

#[derive(Debug, clap::Args)]
struct Inspect {
    /// File with the token; stdin if missing or -
    file: Option<PathBuf>,
    /// Verify with this key: public or private in PEM, or a shared secret
    #[arg(long, value_name = "FILE", conflicts_with = "jwks")]
    key: Option<PathBuf>,
    /// Verify with the keys of this JWKS document
    #[arg(long, value_name = "FILE")]
    jwks: Option<PathBuf>,
    /// Which server it has to be for
    #[arg(long, value_name = "NAME", default_value = "quire")]
    aud: String,
    /// Who has to have issued it [default: anybody with the key]
    #[arg(long, value_name = "NAME")]
    iss: Option<String>,
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    match &args.verb {
        Verb::Issue(wanted) => issued(wanted, args.output),
        Verb::Inspect(asked) => inspected(asked, args.output),
    }
}

fn grant(text: &str) -> Result<Grant, String> {
    let shape = "a pattern, = and rights are wanted: acme.*=read,write";
    let (pattern, rights) = text.split_once('=').ok_or(shape)?;
    let pattern = pattern.parse().map_err(|bad| format!("{bad}"))?;
    Ok(Grant { pattern, rights: rights.parse().map_err(|bad| format!("{bad}"))? })
}

fn issued(wanted: &Issue, output: Output) -> anyhow::Result<Exit> {
    let policy = Policy { audiences: vec![wanted.aud.clone()], ..Policy::default() };
    let lifetimes = Duration::from_secs(1)..=policy.lifetime_max;
    if !lifetimes.contains(&wanted.ttl) {
        bail!("no server takes a token that is valid for so long, or not at all: --ttl 1s to 31d");
    }
    if wanted.rights.len() > GRANTS_MAX {
        bail!("a token has at most {GRANTS_MAX} patterns: use fewer or wider ones in --rights");
    }
    let text = read(&wanted.key)?;
    let key = SigningKey::read(wanted.kid.clone(), text.expose_secret());
    let key = key.with_context(|| format!("{}", wanted.key.display()))?;
    // Whole seconds, as tokens have them; rounded so that it is never valid for too long.
    let now = Timestamp(Clock::wall().now().0 / 1_000 * 1_000);
    let random = || format!("{:032x}", rand::random::<u128>()).parse().expect("hex is an id");
    let claims = Claims {
        subject: wanted.sub.clone(),
        name: wanted.name.clone().unwrap_or_else(|| wanted.sub.beginning()),
        expires: Timestamp(now.0 + wanted.ttl.as_secs() * 1_000),
        issued: Some(now),
        id: Some(wanted.jti.clone().unwrap_or_else(random)),
        grants: wanted.rights.clone(),
        key: None,
    };
    let issuer = wanted.iss.as_deref();
    let draft = Draft { claims: &claims, audience: &wanted.aud, issuer, not_before: None };
    let token = issue(&draft, &key).context("the token was not signed")?;
    // What servers would refuse is found out here and not by whoever gets it.
    let keys = KeySet::new(vec![key.verifying()?])?;
    verify(token.expose_secret(), &keys, &policy, now).context("the token would be refused")?;
    let mut out = io::stdout().lock();
    match output {
        Output::Table => writeln!(out, "{}", token.expose_secret())?,
        Output::Json => {
            let id = claims.id.as_ref().map(TokenId::as_str);
            let expires = claims.expires.0 / 1_000;
            let told = json!({ "token": token.expose_secret(), "jti": id, "exp": expires });
            writeln!(out, "{told:#}")?;
        }
    }
    Ok(Exit::Success)
}

fn inspected(asked: &Inspect, output: Output) -> anyhow::Result<Exit> {
    let token = presented(asked.file.as_deref())?;
    let token = token.expose_secret();
    let parts = Unverified::read(token)?;
    let json = |part: &[u8]| serde_json::from_slice::<Value>(part).unwrap_or(Value::Null);
    let (header, claims) = (json(&parts.header), json(&parts.claims));
    let policy = Policy {
        audiences: vec![asked.aud.clone()],
        issuers: asked.iss.iter().cloned().collect(),
        ..Policy::default()
    };
    let judged = match keys(asked, &header)? {
        None => Verdict::Unknown,
        Some(keys) => match verify(token, &keys, &policy, Clock::wall().now()) {
            Ok(_) => Verdict::Holds,
            Err(refusal) => Verdict::Refused(refusal),
        },
    };
    let mut out = io::stdout().lock();
    match output {
        Output::Table => {
            let told = format!("header {header:#}\nclaims {claims:#}\n{}", judged.told());
            writeln!(out, "{}", many_lines(&told))?;
        }
        Output::Json => {
            let reason = judged.reason();
            let told = json!({
                "header": header,
                "claims": claims,
                "verified": reason.is_none(),
                "reason": reason,
            });
            writeln!(out, "{told:#}")?;
        }
    }
    Ok(match judged {
        Verdict::Holds => Exit::Success,
        Verdict::Refused(_) | Verdict::Unknown => Exit::Failure,
    })
}

enum Verdict {
    Holds,
    Refused(Refusal),
    Unknown,
}

impl Verdict {
    fn told(&self) -> String {
        match self {
            Self::Holds => "verified".to_owned(),
            Self::Refused(refusal) => format!("refused: {refusal}"),
            Self::Unknown => "not verified: name the key with --key or --jwks".to_owned(),
        }
    }

    fn reason(&self) -> Option<&'static str> {
        match self {
            Self::Holds => None,
            Self::Refused(refusal) => Some(refusal.reason()),
            Self::Unknown => Some("no-key"),
        }
    }
}

/// Returns the keys to verify with. One that is named in so many words is meant whatever id the
/// token has for it.
fn keys(asked: &Inspect, header: &Value) -> anyhow::Result<Option<KeySet>> {
    if let Some(path) = &asked.jwks {
        let document = read(path)?;
        let keys = jwks::parse(document.expose_secret());
        return Ok(Some(keys.with_context(|| format!("{}", path.display()))?));
    }
    let Some(path) = &asked.key else { return Ok(None) };
    let id = header["kid"].as_str().and_then(|id| id.parse().ok());
    let text = read(path)?;
    let key = Key::read(id, text.expose_secret());
    let key = key.with_context(|| format!("{}", path.display()))?;
    Ok(Some(KeySet::new(vec![key])?))
}

/// Reads the token.
fn presented(file: Option<&Path>) -> anyhow::Result<secrecy::SecretString> {
    let bytes = match file.filter(|path| *path != Path::new("-")) {
        // Nothing of it is repeated: it may be a token that was put in the wrong place.
        Some(path) if path.to_string_lossy().starts_with("eyJ") => bail!(
            "a token is not an argument, others could see it: put it into a file, or on stdin"
        ),
        Some(path) => read(path)?,
        None => limited(io::stdin().lock()).context("stdin could not be read")?,
    };
    let text = std::str::from_utf8(bytes.expose_secret()).map_err(|_| Refusal::Shape)?;
    Ok(text.trim().into())
}

fn read(path: &Path) -> anyhow::Result<SecretSlice<u8>> {
    let file = File::open(path).and_then(limited);
    file.with_context(|| format!("{} could not be read", path.display()))
}

/// Reads as much as any of the files may hold, and one byte more.
fn limited(from: impl Read) -> io::Result<SecretSlice<u8>> {
    let mut bytes = Vec::new();
    from.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    Ok(bytes.into())
}
