//! Each contract catches each of these wrong senders, and says which check did.
#![allow(clippy::expect_used, reason = "helpers of tests fail by panicking")]

mod support;
mod wrong;

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};

use runbell_core::SenderKind;
use runbell_testkit::{FakeHttp, delivery_contract, params_contract, text_contract};
use serde_json::json;
use wrong::{kinds, printers, *};

/// Runs a contract that has to fail, and returns what it says.
fn caught<F: Future<Output = ()>>(contract: impl FnOnce() -> F) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let panic = catch_unwind(AssertUnwindSafe(|| runtime.block_on(async { contract().await })));
    let panic = panic.expect_err("the defect goes unnoticed");
    panic.downcast_ref::<String>().cloned().expect("a contract panics with a text")
}

#[track_caller]
fn says(said: &str, check: &str, what: &str) {
    assert!(said.contains(check) && said.contains(what), "wanted {check} … {what}, got: {said}");
}

/// The delivery contract says `what` in the check `name` about the defect.
#[track_caller]
fn delivery<K: SenderKind>(name: &str, what: &str) {
    let said = caught(|| async {
        let peer = FakeHttp::start().await;
        delivery_contract::<K>(&peer, json!({ "url": peer.url("/hook"), "token": "t-0" })).await;
    });
    says(&said, &format!("delivery_contract[{name}]"), what);
}

#[track_caller]
fn params<K: SenderKind>(name: &str, what: &str) {
    let good = json!({ "url": "http://hooks.example/x", "token": "t-0" });
    let said = caught(|| async { params_contract::<K>(good) });
    says(&said, &format!("params_contract[{name}]"), what);
}

#[track_caller]
fn text<K: SenderKind>(name: &str, what: &str) {
    let said = caught(|| text_contract::<K>(json!({})));
    says(&said, &format!("text_contract[{name}"), what);
}

macro_rules! defects {
    ($contract:ident: $($test:ident = $kind:ty => $check:literal, $what:literal;)*) => {
        $(#[test]
        fn $test() {
            $contract::<$kind>($check, $what);
        })*
    };
}

defects! { delivery:
    reads_retry_after_as_milliseconds = Wrong<WAITS_IN_MILLISECONDS> => "429 with seconds", "After(7ms)";
    ignores_dates = Wrong<IGNORES_DATES> => "429 with a date", "the error says Backoff";
    leaks_the_url_in_an_error = Wrong<URL_IN_ERROR> => "300", "the error shows the secret in `url`";
    leaks_the_url_in_a_cause = Wrong<URL_IN_CAUSE> => "300", "the error shows the secret in `url`";
    leaks_the_token_in_base64 = Wrong<TOKEN_IN_BASE64> => "300", "the error shows the secret in `token`";
    leaks_half_the_url = Wrong<HALF_URL_IN_ERROR> => "300", "the error shows the secret in `url`";
    leaks_in_debug = Wrong<URL_IN_DEBUG> => "building connects to nothing", "Debug of the sender shows the secret in `url`";
    leaks_in_a_note = Wrong<URL_IN_NOTE> => "building connects to nothing", "a note shows the secret in `url`";
    leaks_in_a_header = Wrong<TOKEN_IN_PLAIN_HEADER> => "building connects to nothing", "previewed shows the secret in `token`";
    leaks_in_a_receipt = Wrong<URL_IN_RECEIPT> => "the preview is what is sent", "the receipt shows the secret in `url`";
    leaks_in_a_log = Wrong<URL_IN_LOG> => "secrets in logs", "a log line shows the secret in `url`";
    leaks_in_a_record_of_log = Wrong<URL_IN_LOG_RECORD> => "secrets in logs", "a log line shows the secret in `url`";
    quotes_the_answer = Wrong<QUOTES_THE_BODY> => "the receipt quotes no body", "body-of-the-answer";
    swallows_redirects = Wrong<SWALLOWS_REDIRECTS> => "300", "it counts as a success";
    retries_refusals = Wrong<RETRIES_REFUSALS> => "300", "the retry advice is Backoff, not Never";
    does_not_report_unauthorized = Wrong<NOT_UNAUTHORIZED> => "401", "the kind is Rejected, not Unauthorized";
    retries_inside = Wrong<RETRIES_INSIDE> => "300", "the peer saw 2 requests";
    reads_to_the_end = Wrong<READS_TO_THE_END> => "a success with an endless body", "it is read on and on";
    panics_on_garbage = Wrong<PANICS> => "closed before the answer", "sending panics";
    gives_up_on_broken_connections = Wrong<NEVER_RETRIES> => "408", "the retry advice is Never";
    forgets_ambiguity = Wrong<NEVER_AMBIGUOUS> => "closed before the answer", "it is not ambiguous";
    forgets_written = Wrong<NEVER_WRITTEN> => "closed before the answer", "SendContext::written was not called";
    takes_half_a_success_for_a_failure = Wrong<WANTS_THE_BODY> => "closed inside a success's body", "it counts as a failure";
    renders_by_chance = Wrong<RENDERS_BY_COUNT> => "same message, same payload", "rendered again, it differs";
    renders_the_time = Wrong<RENDERS_THE_TIME> => "same message, same payload", "later, it differs";
    panics_without_runs = Wrong<NEEDS_A_RUN> => "a message with no runs", "rendering panics";
    adds_a_header_unseen = Wrong<HIDDEN_HEADER> => "the preview is what is sent", "the header `x-hidden` is on the wire";
    sends_another_body = Wrong<OTHER_BODY> => "the preview is what is sent", "the body differs";
    goes_on_after_dropping = Wrong<GOES_ON> => "dropped in flight", "it goes on after its future was dropped";
    sends_once_in_its_life = Wrong<STAYS_BUSY> => "the next send after one was dropped", "it fails";
    sends_one_at_a_time = Wrong<ONE_AT_A_TIME> => "64 at once", "one of them fails";
    connects_in_build = Wrong<CONNECTS_IN_BUILD> => "building connects to nothing", "connections were opened";
    names_another_destination = Wrong<OTHER_DESTINATION> => "limits", "the destination is";
    wants_hours = Wrong<HOURS> => "limits", "a timeout of 3600s";
}

defects! { params:
    names_the_wrong_field = Wrong<WRONG_PATH> => "secrets while `url` is wrong", "the path `webhook`, which is no param";
    quotes_the_value = Wrong<QUOTES_THE_VALUE> => "secrets while `url` itself is wrong", "a finding shows the secret in `url`";
    finds_no_fault_and_builds_nothing = Wrong<REFUSES_IN_BUILD> => "secrets while `url` is wrong", "checking finds no fault";
    shows_the_url_in_debug = Wrong<URL_IN_DEBUG> => "secrets in Debug of the sender", "the secret in `url`";
    prints_its_params = kinds::PlainParams => "secrets in Debug of the params", "the secret in `url`";
    documents_nothing = kinds::NoDocs => "schema", "`url` has no description";
    refuses_unknown_params = kinds::Strict => "an unknown param", "it is a fault";
    takes_its_own_params_for_wrong = kinds::FussyKind => "good params", "url: is not to my taste";
    overrules_given_params = kinds::Overrules => "explicit params stay", "`complete` changed `url`";
    misnames_itself = kinds::Alias => "names", "`Alias!` does not fit";
}

defects! { text:
    prints_twice = printers::Printer<{ printers::TWICE }> => "prints what it renders, once]", "it renders";
    prints_while_rendering = printers::Printer<{ printers::WHILE_RENDERING }> => "prints what it renders, once]", "rendering prints";
    lets_escapes_through = printers::Printer<{ printers::RAW }> => "a message with control characters", "the rendered text holds";
    swallows_a_closed_pipe = printers::Printer<{ printers::SWALLOWS }> => "an output without a reader]", "it counts as a success";
    panics_on_a_closed_pipe = printers::Printer<{ printers::PANICS }> => "an output without a reader]", "sending panics";
    colours_over_text = printers::Printer<{ printers::COLOURS_AWAY }> => "a message with control characters, width Some(80), colour true", "is not what is rendered";
}

#[tokio::test]
async fn a_correct_printer_passes() {
    text_contract::<printers::Printer<{ printers::RIGHT }>>(json!({})).await;
}
