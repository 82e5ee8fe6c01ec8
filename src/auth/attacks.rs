//! Attacks on tokens, as a table: each is a good token with one thing changed, and says by which
//! rule it is refused. That the unchanged one is taken is tested beside it, so that each refusal is
//! the work of its rule.
//!
//! The keys are in tests/fixtures/auth and sign nothing else; the tokens there are the work of
//! another library (PyJWT).

use jsonwebtoken::{EncodingKey, crypto};
use serde_json::{Value, json};

use super::keys::{Algorithm, Key, KeySet, SigningKey};
use super::token::{Claims, Policy, verify};
use super::{Claim, KeyId, Refusal, jwks, provider};
use crate::types::Timestamp;

const NOW: u64 = 1_800_000_000;

macro_rules! fixture {
    ($name:literal) => {
        include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/auth/", $name))
    };
}

const SECRET: &[u8] = fixture!("secret.txt");
const RSA: &[u8] = fixture!("rsa.pem");
const RSA_PUBLIC: &[u8] = fixture!("rsa-public.pem");
const P256: &[u8] = fixture!("p256.pem");
const P256_PUBLIC: &[u8] = fixture!("p256-public.pem");
const ED25519: &[u8] = fixture!("ed25519.pem");
const ED25519_PUBLIC: &[u8] = fixture!("ed25519-public.pem");

fn keys() -> KeySet {
    let key = |id: &str, text| Key::read(id.parse().ok(), text).expect("a key");
    let named = [("secret", SECRET), ("rsa", RSA_PUBLIC), ("p256", P256_PUBLIC)];
    let mut keys: Vec<_> = named.map(|(id, text)| key(id, text)).into();
    keys.push(key("ed25519", ED25519_PUBLIC));
    // A second secret, so that a token has to say which it means.
    keys.push(key("secret-2", &[b's'; 32]));
    KeySet::new(keys).expect("they fit together")
}

fn policy() -> Policy {
    Policy { issuers: vec!["https://issuer.example".to_owned()], ..Policy::default() }
}

fn judge(token: &str) -> Result<Claims, Refusal> {
    verify(token, &keys(), &policy(), Timestamp(NOW * 1_000))
}

fn header() -> Value {
    json!({ "typ": "JWT", "alg": "ES256", "kid": "p256" })
}

fn claims() -> Value {
    json!({
        "sub": "anna@example.org",
        "name": "Anna Ünal",
        "exp": NOW + 3_600,
        "nbf": NOW - 10,
        "iat": NOW - 10,
        "aud": ["other", "quire"],
        "iss": "https://issuer.example",
        "jti": "t-1",
        "docs": [{ "pattern": "acme.**", "rights": ["read", "write"] }],
    })
}

fn base64(bytes: impl AsRef<[u8]>) -> String {
    use base64::Engine;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

/// Signs any text as header and any as claims.
fn signed(header: &[u8], claims: &[u8], algorithm: Algorithm, key: &EncodingKey) -> String {
    provider::install();
    let message = format!("{}.{}", base64(header), base64(claims));
    let signature = crypto::sign(message.as_bytes(), key, algorithm.library()).expect("it signs");
    format!("{message}.{signature}")
}

fn p256(header: &[u8], claims: &[u8]) -> String {
    let key = EncodingKey::from_ec_pem(P256).expect("a key");
    signed(header, claims, Algorithm::Es256, &key)
}

/// Returns the good token with one member of its header changed.
fn with_header(name: &str, value: Value) -> String {
    let mut header = header();
    header[name] = value;
    p256(header.to_string().as_bytes(), claims().to_string().as_bytes())
}

fn without_header(name: &str) -> String {
    let mut header = header();
    header.as_object_mut().expect("an object").remove(name);
    p256(header.to_string().as_bytes(), claims().to_string().as_bytes())
}

/// Returns the good token with one claim changed.
fn with(name: &str, value: Value) -> String {
    let mut claims = claims();
    claims[name] = value;
    p256(header().to_string().as_bytes(), claims.to_string().as_bytes())
}

fn without(name: &str) -> String {
    let mut claims = claims();
    claims.as_object_mut().expect("an object").remove(name);
    p256(header().to_string().as_bytes(), claims.to_string().as_bytes())
}

fn with_doc(doc: Value) -> String {
    with("docs", json!([doc]))
}

/// Signs the good claims with HMAC under a secret that is none, as if it were one.
fn confused(kid: Option<&str>, secret: &[u8]) -> String {
    let mut header = json!({ "typ": "JWT", "alg": "HS256" });
    if let Some(kid) = kid {
        header["kid"] = kid.into();
    }
    let key = EncodingKey::from_secret(secret).expect("it is not empty");
    let claims = claims().to_string();
    signed(header.to_string().as_bytes(), claims.as_bytes(), Algorithm::Hs256, &key)
}

fn good() -> String {
    p256(header().to_string().as_bytes(), claims().to_string().as_bytes())
}

type Attack = (&'static str, String, Refusal);

fn on_the_shape() -> Vec<Attack> {
    let good = good();
    let (message, signature) = good.rsplit_once('.').expect("three parts");
    let (head, body) = message.split_once('.').expect("three parts");
    let long = format!("{good}{}", "A".repeat(8_193 - good.len()));
    vec![
        ("longer than 8 KiB", long, Refusal::TooLong),
        ("a megabyte", "A".repeat(1 << 20), Refusal::TooLong),
        ("nothing", String::new(), Refusal::Shape),
        ("dots alone", "..".to_owned(), Refusal::Header),
        ("two parts", message.to_owned(), Refusal::Shape),
        ("four parts", format!("{good}.{signature}"), Refusal::Shape),
        ("five parts, a JWE", format!("{good}..{signature}"), Refusal::Shape),
        ("a space before it", format!(" {good}"), Refusal::Shape),
        ("a line behind it", format!("{good}\n"), Refusal::Shape),
        ("in quotes", format!("\"{good}\""), Refusal::Shape),
        ("padded base64", format!("{head}=.{body}.{signature}"), Refusal::Shape),
        ("the other base64", format!("{head}.{body}+/.{signature}"), Refusal::Shape),
        ("a zero byte", format!("{good}\0"), Refusal::Shape),
        ("a header that is no base64", format!("A.{body}.{signature}"), Refusal::Shape),
        ("claims that are no base64", format!("{head}.A.{signature}"), Refusal::Shape),
    ]
}

fn on_the_header() -> Vec<Attack> {
    let claims = claims().to_string();
    let raw = |header: &str| p256(header.as_bytes(), claims.as_bytes());
    let long = json!("x".repeat(1_024));
    let unsigned = |alg: &str, end: &str| {
        let header = json!({ "typ": "JWT", "alg": alg }).to_string();
        format!("{}.{}.{end}", base64(header), base64(&claims))
    };
    let own = json!({ "kty": "oct", "k": base64("x".repeat(32)) });
    vec![
        ("no JSON", raw("header"), Refusal::Header),
        ("a list", raw(r#"["ES256"]"#), Refusal::Header),
        ("a long header", with_header("more", long), Refusal::Header),
        ("no alg", without_header("alg"), Refusal::Header),
        ("alg is a number", with_header("alg", json!(256)), Refusal::Header),
        ("alg twice", raw(r#"{"alg":"ES256","alg":"none","kid":"p256"}"#), Refusal::Twice),
        ("alg spelled twice", raw(r#"{"al\u0067":"none","alg":"ES256"}"#), Refusal::Twice),
        ("alg none", unsigned("none", ""), Refusal::Unsigned),
        ("alg None", unsigned("None", ""), Refusal::Unsigned),
        ("alg nOnE with a signature", unsigned("nOnE", "AAAA"), Refusal::Unsigned),
        ("alg none, signed all the same", with_header("alg", json!("none")), Refusal::Unsigned),
        ("alg HS384", with_header("alg", json!("HS384")), Refusal::Algorithm),
        ("alg PS256", with_header("alg", json!("PS256")), Refusal::Algorithm),
        ("alg es256", with_header("alg", json!("es256")), Refusal::Algorithm),
        ("alg with a space", with_header("alg", json!("ES256 ")), Refusal::Algorithm),
        ("alg empty", with_header("alg", json!("")), Refusal::Algorithm),
        ("crit", with_header("crit", json!(["exp"])), Refusal::Extension),
        ("crit empty", with_header("crit", json!([])), Refusal::Extension),
        ("b64", with_header("b64", json!(true)), Refusal::Extension),
        ("its own key", with_header("jwk", own), Refusal::OwnKey),
        ("a key elsewhere", with_header("jku", json!("https://evil/jwks")), Refusal::OwnKey),
        ("a certificate elsewhere", with_header("x5u", json!("https://evil/x")), Refusal::OwnKey),
        ("its own certificate", with_header("x5c", json!(["MIIB"])), Refusal::OwnKey),
        ("another purpose", with_header("typ", json!("logout+jwt")), Refusal::Type),
        ("proof of possession", with_header("typ", json!("dpop+jwt")), Refusal::Type),
        ("typ is null", with_header("typ", json!(null)), Refusal::Header),
    ]
}

fn on_the_key() -> Vec<Attack> {
    let der = {
        use base64::Engine;
        let text = String::from_utf8_lossy(RSA_PUBLIC);
        let body: String = text.lines().filter(|line| !line.starts_with("---")).collect();
        base64::engine::general_purpose::STANDARD.decode(body).expect("base64")
    };
    let kid = |value: &str| with_header("kid", json!(value));
    vec![
        ("kid out of a folder", kid("../../../../dev/null"), Refusal::KeyId),
        ("kid out of a folder, inside", kid("keys/../../etc/passwd"), Refusal::KeyId),
        ("kid with SQL", kid("x' UNION SELECT 'secret"), Refusal::KeyId),
        ("kid with a command", kid("p256|id"), Refusal::KeyId),
        ("kid with a line", kid("p256\r\nx: y"), Refusal::KeyId),
        ("kid with a zero", kid("p256\0"), Refusal::KeyId),
        ("kid empty", kid(""), Refusal::KeyId),
        ("kid too long", kid(&"k".repeat(129)), Refusal::KeyId),
        ("kid is a list", with_header("kid", json!(["p256"])), Refusal::KeyId),
        ("kid is null", with_header("kid", json!(null)), Refusal::KeyId),
        ("kid unknown", kid("p257"), Refusal::KeyUnknown),
        ("kid in capitals", kid("P256"), Refusal::KeyUnknown),
        ("two keys could be meant", confused(None, SECRET), Refusal::KeyUnnamed),
        ("kid of another algorithm", kid("rsa"), Refusal::KeyAlgorithm),
        ("kid of a secret", kid("secret"), Refusal::KeyAlgorithm),
        ("public RSA key as a secret", confused(Some("rsa"), RSA_PUBLIC), Refusal::KeyAlgorithm),
        ("the same in DER", confused(Some("rsa"), &der), Refusal::KeyAlgorithm),
        ("public EC key as a secret", confused(Some("p256"), P256_PUBLIC), Refusal::KeyAlgorithm),
        (
            "public EdDSA key as a secret",
            confused(Some("ed25519"), ED25519_PUBLIC),
            Refusal::KeyAlgorithm,
        ),
        ("the same under a secret's kid", confused(Some("secret"), RSA_PUBLIC), Refusal::Signature),
        ("a guessed secret", confused(Some("secret"), b"secret"), Refusal::Signature),
        ("the other secret", confused(Some("secret"), &[b's'; 32]), Refusal::Signature),
    ]
}

fn on_the_signature() -> Vec<Attack> {
    let good = good();
    let (message, signature) = good.rsplit_once('.').expect("three parts");
    let (head, body) = message.split_once('.').expect("three parts");
    let end = |signature: &str| format!("{message}.{signature}");
    let body_of = |token: &str| token.split('.').nth(1).expect("three parts").to_owned();
    let stranger = {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).expect("a key");
        let key = EncodingKey::from_ec_pem(key.serialize_pem().as_bytes()).expect("a key");
        let (header, claims) = (header().to_string(), claims().to_string());
        signed(header.as_bytes(), claims.as_bytes(), Algorithm::Es256, &key)
    };
    let flipped = match signature.as_bytes()[0] {
        b'A' => format!("B{}", &signature[1..]),
        _ => format!("A{}", &signature[1..]),
    };
    let widened = body_of(&with_doc(json!({ "pattern": "**", "rights": ["admin"] })));
    let hs256 = |end: fn(&str) -> &str| {
        let token = confused(Some("secret"), SECRET.trim_ascii());
        let (message, signature) = token.rsplit_once('.').expect("three parts");
        format!("{message}.{}", end(signature))
    };
    let header = base64(json!({ "alg": "ES256", "kid": "p256" }).to_string());
    vec![
        ("no signature", end(""), Refusal::Signature),
        ("a character changed", end(&flipped), Refusal::Signature),
        ("zeros, as r and s", end(&base64([0; 64])), Refusal::Signature),
        ("zeros, in DER", end(&base64([0x30, 6, 2, 1, 0, 2, 1, 0])), Refusal::Signature),
        ("half of it", end(&signature[..43]), Refusal::Signature),
        ("something behind it", end(&format!("{signature}AAAA")), Refusal::Signature),
        ("another one's key", stranger, Refusal::Signature),
        ("other claims", format!("{head}.{widened}.{signature}"), Refusal::Signature),
        ("another header", format!("{header}.{body}.{signature}"), Refusal::Signature),
        ("half of an HMAC", hs256(|mac| &mac[..22]), Refusal::Signature),
        ("an empty HMAC", hs256(|_| ""), Refusal::Signature),
    ]
}

fn on_the_claims() -> Vec<Attack> {
    let header = header().to_string();
    let raw = |claims: &[u8]| p256(header.as_bytes(), claims);
    let text = claims().to_string();
    let twice = format!(r#"{},"exp":{}}}"#, &text[..text.len() - 1], NOW + 9_999);
    let many: String = (0..65).map(|n| format!(r#","c{n}":0"#)).collect();
    let many = format!("{}{many}}}", &text[..text.len() - 1]);
    let deep = format!("{}{}", "[".repeat(2_000), "]".repeat(2_000));
    let deep = format!(r#"{},"x":{deep}}}"#, &text[..text.len() - 1]);
    let grant = json!({ "pattern": "a", "rights": ["read"] });
    let doc_twice = text.replace(r#""pattern":"#, r#""pattern":"x","pattern":"#);
    let form = Refusal::Form;
    let wide = json!({ "pattern": "a", "rights": ["read"], "until": 1 });
    vec![
        ("no JSON", raw(b"claims"), Refusal::Claims),
        ("no object", raw(b"[1]"), Refusal::Claims),
        ("no UTF-8", raw(b"{\"sub\":\"\xff\"}"), Refusal::Claims),
        ("something behind them", raw(format!("{text}{text}").as_bytes()), Refusal::Claims),
        ("2,000 deep", raw(deep.as_bytes()), Refusal::Claims),
        ("74 of them", raw(many.as_bytes()), Refusal::Claims),
        ("exp twice", raw(twice.as_bytes()), Refusal::Twice),
        ("a pattern twice", raw(doc_twice.as_bytes()), Refusal::Twice),
        ("no sub", without("sub"), Refusal::Missing(Claim::Sub)),
        ("no exp", without("exp"), Refusal::Missing(Claim::Exp)),
        ("no aud", without("aud"), Refusal::Missing(Claim::Aud)),
        ("no iss", without("iss"), Refusal::Missing(Claim::Iss)),
        ("sub is null", with("sub", json!(null)), form(Claim::Sub)),
        ("sub is empty", with("sub", json!("")), form(Claim::Sub)),
        ("sub is a number", with("sub", json!(1)), form(Claim::Sub)),
        ("sub is not ASCII", with("sub", json!("аnna")), form(Claim::Sub)),
        ("sub has a line", with("sub", json!("anna\nadmin")), form(Claim::Sub)),
        ("sub is long", with("sub", json!("s".repeat(256))), form(Claim::Sub)),
        ("name has a control character", with("name", json!("a\u{1b}[2J")), form(Claim::Name)),
        ("name turns the text", with("name", json!("anna\u{202e}nimda")), form(Claim::Name)),
        ("name is long", with("name", json!("n".repeat(65))), form(Claim::Name)),
        ("jti has a space", with("jti", json!("t 1")), form(Claim::Jti)),
        ("jti is long", with("jti", json!("t".repeat(129))), form(Claim::Jti)),
        ("exp is a text", with("exp", json!("1800003600")), form(Claim::Exp)),
        ("exp is negative", with("exp", json!(-1)), form(Claim::Exp)),
        ("exp is huge", with("exp", json!(u64::MAX)), form(Claim::Exp)),
        ("exp is 1e308", with("exp", json!(1e308)), form(Claim::Exp)),
        ("nbf is a list", with("nbf", json!([NOW])), form(Claim::Nbf)),
        ("iat is a bool", with("iat", json!(true)), form(Claim::Iat)),
        ("aud is a number", with("aud", json!(1)), form(Claim::Aud)),
        ("aud is empty", with("aud", json!([])), form(Claim::Aud)),
        ("aud has a number", with("aud", json!(["quire", 1])), form(Claim::Aud)),
        ("aud is long", with("aud", json!("a".repeat(256))), form(Claim::Aud)),
        ("17 audiences", with("aud", json!(vec!["quire"; 17])), form(Claim::Aud)),
        ("iss is a list", with("iss", json!(["https://issuer.example"])), form(Claim::Iss)),
        ("iss is long", with("iss", json!("i".repeat(256))), form(Claim::Iss)),
        ("docs is an object", with("docs", grant.clone()), form(Claim::Docs)),
        ("docs has a text", with_doc(json!("**")), form(Claim::Docs)),
        ("docs has more to say", with_doc(wide), form(Claim::Docs)),
        ("no rights", with_doc(json!({ "pattern": "a", "rights": [] })), form(Claim::Docs)),
        ("no pattern", with_doc(json!({ "rights": ["read"], "x": 1 })), form(Claim::Docs)),
        ("65 patterns", with("docs", json!(vec![grant; 65])), Refusal::TooManyPatterns),
        (
            "a pattern that is none",
            with_doc(json!({ "pattern": "a/**", "rights": ["read"] })),
            Refusal::Pattern,
        ),
        (
            "a wide pattern",
            with_doc(json!({ "pattern": "acme*", "rights": ["read"] })),
            Refusal::Pattern,
        ),
        (
            "a right that is none",
            with_doc(json!({ "pattern": "a", "rights": ["all"] })),
            Refusal::Right,
        ),
    ]
}

fn on_time_and_parties() -> Vec<Attack> {
    let (leeway, most) = (30, 31 * 24 * 3_600);
    vec![
        ("expired", with("exp", json!(NOW - leeway)), Refusal::Expired),
        ("expired in 1970", with("exp", json!(0)), Refusal::Expired),
        ("nbf to come", with("nbf", json!(NOW + leeway + 1)), Refusal::NotYet),
        ("issued in the future", with("iat", json!(NOW + leeway + 1)), Refusal::NotYet),
        ("valid too long", with("exp", json!(NOW + leeway + most + 1)), Refusal::TooLasting),
        ("valid for ever", with("exp", json!(253_402_300_799_u64)), Refusal::TooLasting),
        ("another audience", with("aud", json!("quire2")), Refusal::Audience),
        ("an audience in capitals", with("aud", json!(["Quire", "quire "])), Refusal::Audience),
        ("another issuer", with("iss", json!("https://issuer.example/")), Refusal::Issuer),
    ]
}

fn all() -> Vec<Attack> {
    [
        on_the_shape(),
        on_the_header(),
        on_the_key(),
        on_the_signature(),
        on_the_claims(),
        on_time_and_parties(),
    ]
    .concat()
}

#[test]
fn the_unchanged_token_is_taken() {
    let claims = judge(&good()).expect("it is good");
    assert_eq!((claims.subject.as_str(), claims.name.as_str()), ("anna@example.org", "Anna Ünal"));
    assert_eq!(claims.expires, Timestamp((NOW + 3_600) * 1_000));
    assert_eq!(claims.grants[0].pattern.to_string(), "acme.**");
    assert_eq!(claims.grants[0].rights.to_string(), "read,write");
    let same = confused(Some("secret"), SECRET.trim_ascii());
    let same = judge(&same).map(|same| Claims { key: claims.key, ..same });
    assert_eq!(same, Ok(claims), "what signs the attacks signs as it should");
}

#[test]
fn what_is_at_the_edge_is_taken() {
    let (leeway, most) = (30, 31 * 24 * 3_600);
    for token in [
        with("exp", json!(NOW - leeway + 1)),
        with("exp", json!(NOW + leeway + most)),
        with("exp", json!(1_800_003_600.5)),
        with("nbf", json!(NOW + leeway)),
        with("iat", json!(NOW + leeway)),
        with("aud", json!("quire")),
        with("sub", json!("s".repeat(255))),
        with("name", json!("n".repeat(64))),
        with("docs", json!(vec![json!({ "pattern": "a", "rights": ["read"] }); 64])),
        with("other", json!({ "a": [1, null, { "b": "c" }] })),
        without("docs"),
        without("nbf"),
        without("iat"),
        without("jti"),
        without_header("typ"),
        without_header("kid"),
        with_header("typ", json!("at+JWT")),
        with_header("x5t", json!("abc")),
    ] {
        assert!(judge(&token).is_ok(), "{:?}", judge(&token));
    }
    let nameless = judge(&without("name")).expect("it is good");
    assert_eq!(nameless.name.as_str(), "anna@example.org");
}

#[test]
fn every_attack_is_refused_by_its_rule() {
    for (what, token, expected) in all() {
        assert_eq!(judge(&token), Err(expected), "{what}");
    }
    assert_eq!(all().len(), 128, "docs/SECURITY.md says how many");
}

#[test]
fn every_rule_has_an_attack_and_a_name_of_its_own() {
    let claims = [Claim::Sub, Claim::Name, Claim::Exp, Claim::Nbf, Claim::Iat];
    let claims = claims.into_iter().chain([Claim::Aud, Claim::Iss, Claim::Jti, Claim::Docs]);
    let needed = [Claim::Sub, Claim::Exp, Claim::Aud, Claim::Iss].map(Refusal::Missing);
    let plain = [
        Refusal::TooLong,
        Refusal::Shape,
        Refusal::Header,
        Refusal::Twice,
        Refusal::Type,
        Refusal::Unsigned,
        Refusal::Algorithm,
        Refusal::Extension,
        Refusal::OwnKey,
        Refusal::KeyId,
        Refusal::KeyUnnamed,
        Refusal::KeyUnknown,
        Refusal::KeyAlgorithm,
        Refusal::Signature,
        Refusal::Claims,
        Refusal::TooManyPatterns,
        Refusal::Pattern,
        Refusal::Right,
        Refusal::Expired,
        Refusal::NotYet,
        Refusal::TooLasting,
        Refusal::Audience,
        Refusal::Issuer,
    ];
    let rules: Vec<_> = plain.into_iter().chain(needed).chain(claims.map(Refusal::Form)).collect();
    let attacks = all();
    for rule in &rules {
        assert!(attacks.iter().any(|(_, _, refusal)| refusal == rule), "nothing meets {rule:?}");
    }
    // These two are met by other tests: they are no work of `verify`.
    let rules: Vec<_> = rules.into_iter().chain([Refusal::KeysStale, Refusal::Revoked]).collect();
    let names: std::collections::BTreeSet<_> = rules.iter().map(|rule| rule.reason()).collect();
    assert_eq!(names.len(), rules.len());
}

#[test]
fn tokens_of_another_library_are_taken() {
    let tokens = std::str::from_utf8(fixture!("tokens.txt")).expect("UTF-8").lines();
    let judged: Vec<_> = tokens.map(judge).collect();
    assert_eq!(judged.len(), 4, "one of each algorithm");
    for claims in judged {
        let claims = claims.expect("it is good");
        let grants: Vec<_> = claims.grants.iter().map(|g| g.rights.to_string()).collect();
        assert_eq!(grants, ["read,write", "read,history"]);
        assert_eq!(claims.name.as_str(), "Anna Ünal");
    }
}

/// RFC 7515, A.1 and A.3, and RFC 8037, A.4; the one of RSA is not among them, because PyJWT's
/// token stands for it.
#[test]
fn signatures_are_those_of_the_standards() {
    let vectors: Vec<Value> =
        serde_json::from_slice(fixture!("standards.json")).expect("a list of vectors");
    assert_eq!(vectors.len(), 3);
    for vector in vectors {
        let text = |name: &str| vector[name].as_str().expect("a text");
        let jwk = serde_json::from_value(vector["jwk"].clone()).expect("a JWK");
        let decoding = jsonwebtoken::DecodingKey::from_jwk(&jwk).expect("a key");
        let algorithm = Algorithm::ALL.into_iter().find(|known| known.name() == text("alg"));
        let key = Key::bound(None, algorithm.expect("a known one"), decoding).expect("a whole one");
        let (message, signature) = (text("message"), text("signature"));
        assert!(key.has_signed(message, signature), "{}", text("from"));
        assert!(!key.has_signed(&message[1..], signature), "{}", text("from"));
    }
}

#[test]
fn a_published_set_has_only_keys_for_tokens() {
    let set = jwks::parse(fixture!("jwks.json")).expect("a set");
    let ids: Vec<_> = set.keys().iter().map(|key| key.id().map(KeyId::as_str)).collect();
    assert_eq!(ids, ["rsa", "p256", "ed25519"].map(Some));
    let tokens = std::str::from_utf8(fixture!("tokens.txt")).expect("UTF-8").lines();
    for token in tokens.skip(1) {
        assert!(verify(token, &set, &policy(), Timestamp(NOW * 1_000)).is_ok());
    }
    // What a JWKS document publishes is never a secret, whatever a header says.
    let shared = confused(Some("shared"), b"a secret that everybody can read here");
    assert_eq!(verify(&shared, &set, &policy(), Timestamp(NOW * 1_000)), Err(Refusal::KeyUnknown));
}

#[test]
fn every_kind_of_private_key_signs() {
    for (text, algorithm) in [
        (SECRET, Algorithm::Hs256),
        (RSA, Algorithm::Rs256),
        (fixture!("rsa-pkcs1.pem").as_slice(), Algorithm::Rs256),
        (P256, Algorithm::Es256),
        (ED25519, Algorithm::EdDsa),
    ] {
        let key = SigningKey::read("k".parse().ok(), text).expect("a key");
        assert_eq!(key.algorithm(), algorithm);
        let public = key.verifying().expect("it has a public half");
        let (header, claims) = (json!({ "alg": algorithm.name() }).to_string(), claims());
        let token =
            signed(header.as_bytes(), claims.to_string().as_bytes(), algorithm, key.encoding());
        let set = KeySet::new(vec![public]).expect("one key");
        assert!(verify(&token, &set, &policy(), Timestamp(NOW * 1_000)).is_ok(), "{algorithm:?}");
    }
}
