//! A table of error messages. A crate includes this file by its path and lists the messages of its
//! public errors. If a variant is not listed, the tests of the crate do not compile. If a message
//! changes, its test fails.

/// Lists errors as `test_name: Type { pattern => value, "message"; ... }`, and generates a test for
/// each type.
macro_rules! sentences {
    ($($test:ident: $kind:ty { $($variant:pat => $value:expr, $sentence:literal;)+ })+) => {$(
        #[test]
        fn $test() {
            // This `match` does not compile if a variant is missing in the list.
            let line = |error: &$kind| match error { $($variant => stringify!($variant),)+ };
            $({
                let error: $kind = $value;
                assert_eq!(line(&error), stringify!($variant), "the wrong pattern for this value");
                assert_eq!(error.to_string(), $sentence);
                assert!(!$sentence.ends_with('.') && !$sentence.contains('\n'), "the message is a single line without a full stop");
                let first = $sentence.chars().next().expect("the message is not empty");
                assert!(!first.is_uppercase(), "the message starts in lower case: {}", $sentence);
            })+
        }
    )+};
}
