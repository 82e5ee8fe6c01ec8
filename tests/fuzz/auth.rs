//! What strangers present to be let in: tokens, cookies, CSRF tokens, tickets, key files and JWKS
//! documents, mutated. Nothing but the unchanged is taken, and nothing ends in a panic.

use std::time::Duration;

use quire::access::Rights;
use quire::auth::{
    Csrf, Holder, Key, KeySet, LoginId, Logins, Pattern, Policy, Secret, SigningKey, Tickets, jwks,
    verify,
};
use quire::types::{NodeId, Timestamp};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use secrecy::ExposeSecret;
use tokio::time::Instant;

use crate::record::{mutate, runs};

const NOW: Timestamp = Timestamp(1_800_000_000_000);
const TOKENS: &str = include_str!("../fixtures/auth/tokens.txt");
const COOKIE: &str = include_str!("../fixtures/auth/login-v2.txt");
const CSRF: &str = include_str!("../fixtures/auth/csrf-v1.txt");
const JWKS: &[u8] = include_bytes!("../fixtures/auth/jwks.json");
const SECRET: &[u8] = include_bytes!("../fixtures/auth/secret.txt");
const PEMS: [&[u8]; 4] = [
    include_bytes!("../fixtures/auth/rsa.pem"),
    include_bytes!("../fixtures/auth/rsa-public.pem"),
    include_bytes!("../fixtures/auth/p256-public.pem"),
    include_bytes!("../fixtures/auth/ed25519.pem"),
];

fn mutated(text: &[u8], rng: &mut ChaCha8Rng) -> Vec<u8> {
    let mut bytes = text.to_vec();
    mutate(&mut bytes, rng);
    bytes
}

fn mutated_text(text: &str, rng: &mut ChaCha8Rng) -> String {
    String::from_utf8_lossy(&mutated(text.as_bytes(), rng)).into_owned()
}

#[test]
fn nothing_but_the_unchanged_is_taken() {
    let secret = Key::read("secret".parse().ok(), SECRET).expect("a secret");
    let own = KeySet::new(vec![secret]).expect("one key");
    let keys = own.with(&jwks::parse(JWKS).expect("a document"));
    let a = Secret::read(&[b'a'; 32]).expect("a secret");
    let logins = Logins::new(&a, None, Duration::from_hours(12));
    let csrf = Csrf::new(&a, None);
    let claims = logins.open(COOKIE.trim_end(), NOW).expect("it is good").login.claims;
    let holder = Holder { claims, login: None };
    let mut tickets = Tickets::new(NodeId("node-1".parse().expect("a name")), (&a, None), 1);
    let ticket = tickets.issue(holder, [7; 32], Instant::now()).expect("it is the first");
    let ticket = ticket.expose_secret();
    let (cookie, sent) = (COOKIE.trim_end(), CSRF.trim_end());
    let tokens: Vec<_> = TOKENS.lines().collect();
    assert!(tokens.iter().all(|token| verify(token, &keys, &Policy::default(), NOW).is_ok()));
    for seed in 0..runs() {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let token = tokens[usize::try_from(seed % 4).expect("it is small")];
        let forged = mutated_text(token, &mut rng);
        let taken = verify(&forged, &keys, &Policy::default(), NOW).is_ok();
        assert_eq!(taken, forged == token, "seed {seed}: {forged}");
        let forged = mutated_text(cookie, &mut rng);
        assert_eq!(logins.open(&forged, NOW).is_ok(), forged == cookie, "seed {seed}: {forged}");
        let forged = mutated_text(sent, &mut rng);
        let taken = csrf.check(&forged, &forged, LoginId([7; 16]), NOW).is_ok();
        assert_eq!(taken, forged == sent, "seed {seed}: {forged}");
        let forged = mutated_text(ticket, &mut rng);
        assert_eq!(tickets.read(&forged).is_ok(), forged == *ticket, "seed {seed}: {forged}");
    }
}

#[test]
fn keys_and_patterns_are_read_or_refused() {
    let (mut taken, mut refused) = (0, 0);
    for seed in 0..runs() {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let pem = mutated(PEMS[usize::try_from(seed % 4).expect("it is small")], &mut rng);
        let read = [
            Key::read(None, &pem).is_ok(),
            SigningKey::read(None, &pem).is_ok(),
            jwks::parse(&mutated(JWKS, &mut rng)).is_ok(),
            mutated_text("acme.notes.*", &mut rng).parse::<Pattern>().is_ok(),
            mutated_text("read,write", &mut rng).parse::<Rights>().is_ok(),
        ];
        let good = read.iter().filter(|good| **good).count();
        taken += good;
        refused += read.len() - good;
    }
    assert!(taken > 0 && refused > 0, "{taken} taken, {refused} refused");
}
