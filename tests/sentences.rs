//! A table of error sentences. A crate includes this file by its path, and lists what its public
//! errors say: a variant that is not listed does not compile, and a sentence that has changed fails.

/// Lists errors as `Type { pattern => value, "sentence"; ... }`, and makes a test of each type.
macro_rules! sentences {
    ($($test:ident: $kind:ty { $($variant:pat => $value:expr, $sentence:literal;)+ })+) => {$(
        #[test]
        fn $test() {
            // A variant without a line below is an error of the compiler here.
            let line = |error: &$kind| match error { $($variant => stringify!($variant),)+ };
            $({
                let error: $kind = $value;
                assert_eq!(line(&error), stringify!($variant), "the line of another variant");
                assert_eq!(error.to_string(), $sentence);
                assert!(!$sentence.ends_with('.') && !$sentence.contains('\n'), "no fragment");
                let first = $sentence.chars().next().expect("a sentence is not empty");
                assert!(!first.is_uppercase(), "no fragment: {}", $sentence);
            })+
        }
    )+};
}
