//! A fatal error of Kafka's producer, made on purpose: tests see what becomes of the log after it.
#![expect(unsafe_code, reason = "the binding has no safe call for it")]

use rdkafka::bindings as sys;
use rdkafka::client::{Client, ClientContext};

/// Has the client fail for good, as it does where it has lost its place in the sequence.
pub(crate) fn fail<C: ClientContext>(client: &Client<C>) {
    let code = sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER;
    let reason = c"on purpose, by a test";
    // SAFETY: the client lives as long as it is borrowed, and the text is copied.
    unsafe {
        sys::rd_kafka_test_fatal_error(client.native_ptr(), code, reason.as_ptr());
    }
}
