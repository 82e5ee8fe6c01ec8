//! Why brokers that are there do not take a client: a log-in that is wrong, a certificate that is
//! not trusted. Kafka's client tries on for ever and tells it only to whoever listens.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::log::kafka::settings::Options;

/// How long one poll waits.
const POLL_MAX: Duration = Duration::from_millis(100);

/// Keeps what the client says of its connections.
#[derive(Debug, Default)]
struct Listener {
    heard: Mutex<Heard>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
enum Heard {
    #[default]
    Nothing,
    /// No connection could be made to any broker, for another reason.
    Gone,
    Refused(String),
}

/// Connects once more and listens: tells why the brokers refuse the client, if they do. Blocks.
pub(crate) fn why_refused(options: &Options, most: Duration) -> Option<String> {
    let began = Instant::now();
    let consumer: BaseConsumer<Listener> =
        options.consumer().create_with_context(Listener::default()).ok()?;
    while began.elapsed() < most {
        // An error comes by the listener, too.
        let _ = consumer.poll(POLL_MAX);
        match consumer.context().heard.lock().clone() {
            Heard::Nothing => {}
            Heard::Gone => return None,
            Heard::Refused(reason) => return Some(reason),
        }
    }
    None
}

impl Heard {
    /// Hears one thing more: a refusal is not forgotten.
    fn and(self, code: Option<RDKafkaErrorCode>, reason: &str) -> Self {
        match (self, code) {
            (Self::Refused(reason), _) => Self::Refused(reason),
            (_, Some(code)) if refuses(code) => Self::Refused(reason.to_owned()),
            (_, Some(RDKafkaErrorCode::AllBrokersDown)) => Self::Gone,
            (heard, _) => heard,
        }
    }
}

fn refuses(code: RDKafkaErrorCode) -> bool {
    let refusals = [
        RDKafkaErrorCode::Authentication,
        RDKafkaErrorCode::SSL,
        RDKafkaErrorCode::SaslAuthenticationFailed,
        RDKafkaErrorCode::UnsupportedSASLMechanism,
        RDKafkaErrorCode::IllegalSASLState,
    ];
    refusals.contains(&code)
}

impl ClientContext for Listener {
    fn log(&self, _: RDKafkaLogLevel, _: &str, _: &str) {}

    fn error(&self, error: KafkaError, reason: &str) {
        let mut heard = self.heard.lock();
        *heard = std::mem::take(&mut *heard).and(error.rdkafka_error_code(), reason);
    }
}

impl ConsumerContext for Listener {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_from_a_broker_that_is_gone() {
        let all = |said: &[(RDKafkaErrorCode, &str)]| {
            said.iter().fold(Heard::Nothing, |heard, (code, why)| heard.and(Some(*code), why))
        };
        let (gone, tls) = (RDKafkaErrorCode::AllBrokersDown, RDKafkaErrorCode::SSL);
        let lost = RDKafkaErrorCode::BrokerTransportFailure;
        assert_eq!(all(&[(lost, "refused by the system")]), Heard::Nothing);
        assert_eq!(all(&[(lost, ""), (gone, "1 of 1")]), Heard::Gone);
        let refused = Heard::Refused("certificate".to_owned());
        assert_eq!(all(&[(tls, "certificate"), (gone, "1 of 1")]), refused);
        assert_eq!(all(&[(gone, "1 of 1"), (tls, "certificate")]), refused);
    }
}
