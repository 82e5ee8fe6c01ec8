//! Why somebody is not let in. Each reason is counted under a name of its own, says what to do
//! next, and holds nothing of what was presented: messages end up in logs and on screens.

/// Names what a token says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Claim {
    /// Who.
    Sub,
    /// What others call them.
    Name,
    /// Until when.
    Exp,
    /// From when on.
    Nbf,
    /// Since when.
    Iat,
    /// For whom.
    Aud,
    /// By whom.
    Iss,
    /// Which token.
    Jti,
    /// What for.
    Docs,
}

impl Claim {
    /// Returns its name in tokens.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sub => "sub",
            Self::Name => "name",
            Self::Exp => "exp",
            Self::Nbf => "nbf",
            Self::Iat => "iat",
            Self::Aud => "aud",
            Self::Iss => "iss",
            Self::Jti => "jti",
            Self::Docs => "docs",
        }
    }

    fn form(self) -> &'static str {
        match self {
            Self::Sub => "1 to 255 visible ASCII characters",
            Self::Name => {
                "at most 64 bytes without control characters and marks that turn the text"
            }
            Self::Exp | Self::Nbf | Self::Iat => "seconds since 1970, before the year 10000",
            Self::Aud => "1 to 16 texts of at most 255 bytes",
            Self::Iss => "a text of at most 255 bytes",
            Self::Jti => "1 to 128 visible ASCII characters",
            Self::Docs => {
                "a list of {\"pattern\": \"...\", \"rights\": [...]} with nothing else in them"
            }
        }
    }
}

/// Tells why a token is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    /// It is longer than any token may be; nothing of it was looked at.
    #[error("the token is longer than 8 KiB: have it issued with fewer or wider patterns")]
    TooLong,
    /// It is not three texts of base64url with dots between them.
    #[error("this is no JWT: send the three parts as they were issued, without quotes or spaces")]
    Shape,
    /// The header is no JSON object, is longer than 1 KiB, or has a wrong member.
    #[error("the token's header is not that of a JWT: have it issued by a JWT library")]
    Header,
    /// Header or claims have a member twice.
    #[error("the token says something twice: have it issued by a JWT library")]
    Twice,
    /// It is made for another purpose.
    #[error("the token's typ is another one than JWT or at+jwt: send an access token")]
    Type,
    /// It is not signed.
    #[error("the token is not signed (alg none): have it signed")]
    Unsigned,
    /// It is signed in a way that is not taken.
    #[error("the token's algorithm is not taken: use HS256, RS256, ES256 or EdDSA")]
    Algorithm,
    /// It wants an extension to be understood.
    #[error("the token needs an extension (crit): have it issued without")]
    Extension,
    /// It brings the key that it wants to be checked with, or says where to fetch it.
    #[error("the token brings its own key: have it issued with a kid and no jwk, jku, x5u or x5c")]
    OwnKey,
    /// It names a key by something that is no key's id.
    #[error("the token's kid is no key id: name the key with A-Z a-z 0-9 . _ ~ + / = : -")]
    KeyId,
    /// It names no key, and there are several.
    #[error("the token names no key and there are several: have it issued with a kid")]
    KeyUnnamed,
    /// It names a key that is not known.
    #[error("the token's key is not known here: add it, or sign with a known one")]
    KeyUnknown,
    /// The key that it was signed with has been taken back since it was taken.
    #[error("the token's key is not trusted any more: get a new token from its issuer")]
    KeyGone,
    /// Its algorithm is not the one of the key.
    #[error("the token's algorithm is not the one that its key is for: sign with a fitting key")]
    KeyAlgorithm,
    /// The issuer's keys could not be fetched yet, or for so long that they are not trusted any
    /// more.
    #[error("the issuer's keys could not be fetched yet, or not for too long: try again later")]
    KeysStale,
    /// It was not signed with the key, or changed afterwards.
    #[error("the token's signature is wrong: get a new one from its issuer")]
    Signature,
    /// The claims are no JSON object, or too many.
    #[error("the token's claims are not a JSON object of at most 64 members: correct its issuer")]
    Claims,
    /// A claim that every token has to have is missing.
    #[error("the token has no {}: have it issued with one", .0.name())]
    Missing(Claim),
    /// A claim is not what it has to be.
    #[error("the token's {} is not {}: correct its issuer", .0.name(), .0.form())]
    Form(Claim),
    /// It has more grants than a token may have.
    #[error("the token has more than 64 patterns: use fewer or wider ones")]
    TooManyPatterns,
    /// A grant's pattern is none.
    #[error("one of the token's patterns is none: use an id, or a beginning with * or **")]
    Pattern,
    /// A grant has a right that is none.
    #[error("one of the token's rights is none: use read, write, history, admin")]
    Right,
    /// Its time is over.
    #[error("the token has expired: get a new one from its issuer")]
    Expired,
    /// Its time has not begun, or it was issued in the future.
    #[error("the token is not valid yet: wait, or set the clocks of issuer and server right")]
    NotYet,
    /// Its time ends later than any token's may.
    #[error("the token is valid for too long: have it issued with an earlier exp")]
    TooLasting,
    /// It is for somebody else.
    #[error("the token is for another audience: ask its issuer for one for this server")]
    Audience,
    /// It is from somebody else.
    #[error("the token's issuer is not trusted here: get one from a trusted issuer")]
    Issuer,
    /// It was withdrawn, or its subject was.
    #[error("the token was revoked: sign in again")]
    Revoked,
    /// Nobody knows here, for the time being, what was withdrawn.
    #[error("this node does not hear of what is revoked just now: try again, at another one")]
    CutOff,
}

impl Refusal {
    /// Tells whether it is not known if the token is good: it may be, a little later.
    pub fn is_doubt(self) -> bool {
        matches!(self, Self::KeysStale | Self::CutOff)
    }

    /// Returns the name that it is counted under; there are about 40, whatever is presented.
    pub fn reason(self) -> &'static str {
        match self {
            Self::TooLong => "too-long",
            Self::Shape => "shape",
            Self::Header => "header",
            Self::Twice => "twice",
            Self::Type => "type",
            Self::Unsigned => "unsigned",
            Self::Algorithm => "algorithm",
            Self::Extension => "extension",
            Self::OwnKey => "own-key",
            Self::KeyId => "key-id",
            Self::KeyUnnamed => "key-unnamed",
            Self::KeyUnknown => "key-unknown",
            Self::KeyGone => "key-gone",
            Self::KeyAlgorithm => "key-algorithm",
            Self::KeysStale => "keys-stale",
            Self::Signature => "signature",
            Self::Claims => "claims",
            Self::Missing(claim) => match claim {
                Claim::Sub => "missing-sub",
                Claim::Exp => "missing-exp",
                Claim::Aud => "missing-aud",
                Claim::Iss => "missing-iss",
                Claim::Name | Claim::Nbf | Claim::Iat | Claim::Jti | Claim::Docs => "missing",
            },
            Self::Form(claim) => match claim {
                Claim::Sub => "form-sub",
                Claim::Name => "form-name",
                Claim::Exp => "form-exp",
                Claim::Nbf => "form-nbf",
                Claim::Iat => "form-iat",
                Claim::Aud => "form-aud",
                Claim::Iss => "form-iss",
                Claim::Jti => "form-jti",
                Claim::Docs => "form-docs",
            },
            Self::TooManyPatterns => "too-many-patterns",
            Self::Pattern => "pattern",
            Self::Right => "right",
            Self::Expired => "expired",
            Self::NotYet => "not-yet",
            Self::TooLasting => "too-lasting",
            Self::Audience => "audience",
            Self::Issuer => "issuer",
            Self::Revoked => "revoked",
            Self::CutOff => "cut-off",
        }
    }
}

/// Tells why a key cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadKey {
    /// It is in no format that is read.
    #[error(
        "this is no key: give RSA, P-256 or Ed25519 in PEM (PUBLIC KEY or PRIVATE KEY), or a \
         secret of at least 32 bytes"
    )]
    Format,
    /// The secret can be guessed.
    #[error("the secret has less than 32 bytes: make one with `openssl rand -base64 32`")]
    ShortSecret,
    /// It is a public key where a secret is wanted; a secret that everybody knows signs anything.
    #[error("this is a PEM or DER file and no secret: declare it as a key, or give a real secret")]
    NoSecret,
    /// The RSA modulus is too short or too long.
    #[error("an RSA key has 2048 to 8192 bits: make a new one")]
    RsaBits,
    /// It can only verify.
    #[error("this is a public key, which signs nothing: give the private one")]
    NoPrivate,
    /// Two keys have the same id.
    #[error("two keys have the same id: give each its own")]
    SameId,
    /// There are too many.
    #[error("there are more than 64 keys: remove those that sign nothing any more")]
    TooMany,
}

/// Tells why a JWKS document is of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadJwks {
    /// It is longer than 256 KiB.
    #[error("the JWKS document is longer than 256 KiB: is the address right?")]
    TooLong,
    /// It is no JWKS document.
    #[error("this is no JWKS document (an object with a list of keys): is the address right?")]
    Format,
    /// It has no key that could verify a token.
    #[error("the JWKS document has no RSA, P-256 or Ed25519 key for signatures with a kid")]
    Empty,
    /// Its keys do not fit together.
    #[error(transparent)]
    Keys(#[from] BadKey),
}
