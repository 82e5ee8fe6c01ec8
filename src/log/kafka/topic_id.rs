//! The id that Kafka gave the topic when it was created (KIP-516): two topics of one name, one
//! after the other, never have the same.
//!
//! The client library tells it, and its Rust binding does not pass it on: this is the one place of
//! the program that calls C.
#![expect(unsafe_code, reason = "the binding has no safe call for a topic's id")]

use std::ffi::CString;
use std::ptr;
use std::time::Duration;

use rdkafka::bindings as sys;
use rdkafka::client::Client;

use crate::log::kafka::quiet::Quiet;

/// What brokers tell of a topic's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    /// It is this one.
    Id(u128),
    /// They know the topic and no ids: they are too old.
    NoIds,
    /// Nothing: they do not answer, or do not know the topic.
    Nothing,
}

/// Tells what an answer means that held an id; none where it held nothing about the topic.
fn meaning(answered: Option<u128>) -> Told {
    match answered {
        None => Told::Nothing,
        // What the client fills in for versions of the answer that have no ids.
        Some(0) => Told::NoIds,
        Some(id) => Told::Id(id),
    }
}

/// Asks the brokers for a topic's id. Blocks.
pub(crate) fn topic_id(client: &Client<Quiet>, topic: &str, timeout: Duration) -> Told {
    let Ok(name) = CString::new(topic) else { return Told::Nothing };
    let millis = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    let handle = client.native_ptr();
    let mut names = [name.as_ptr()];
    // SAFETY: `handle` lives as long as `client`, which is borrowed. Every object made here is
    // destroyed once, after its last use; the pointers into the event are used before it is
    // destroyed, and only where the library says that they are there.
    unsafe {
        let topics = sys::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), 1);
        let queue = sys::rd_kafka_queue_new(handle);
        let options = sys::rd_kafka_AdminOptions_new(
            handle,
            sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS,
        );
        sys::rd_kafka_AdminOptions_set_request_timeout(options, millis, ptr::null_mut(), 0);
        sys::rd_kafka_DescribeTopics(handle, topics, options, queue);
        let event = sys::rd_kafka_queue_poll(queue, millis);
        let id = (!event.is_null()).then(|| id_of(event)).flatten();
        if !event.is_null() {
            sys::rd_kafka_event_destroy(event);
        }
        sys::rd_kafka_AdminOptions_destroy(options);
        sys::rd_kafka_queue_destroy(queue);
        sys::rd_kafka_TopicCollection_destroy(topics);
        meaning(id)
    }
}

/// Reads the id out of an answer about one topic.
///
/// # Safety
/// `event` is a live event of the library.
unsafe fn id_of(event: *mut sys::rd_kafka_event_t) -> Option<u128> {
    // SAFETY: by the caller; the result and what it points to belong to the event.
    unsafe {
        let result = sys::rd_kafka_event_DescribeTopics_result(event);
        if result.is_null() {
            return None;
        }
        let mut count = 0;
        let topics = sys::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
        if topics.is_null() || count != 1 {
            return None;
        }
        if !sys::rd_kafka_TopicDescription_error(*topics).is_null() {
            return None;
        }
        let id = sys::rd_kafka_TopicDescription_topic_id(*topics);
        if id.is_null() {
            return None;
        }
        let high = sys::rd_kafka_Uuid_most_significant_bits(id).cast_unsigned();
        let low = sys::rd_kafka_Uuid_least_significant_bits(id).cast_unsigned();
        Some((u128::from(high) << 64) | u128::from(low))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_without_an_id_is_another_thing_than_no_answer() {
        assert_eq!(meaning(Some(7)), Told::Id(7));
        assert_eq!(meaning(Some(0)), Told::NoIds);
        assert_eq!(meaning(None), Told::Nothing);
    }
}
