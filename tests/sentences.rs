//! Compares the texts of a crate's public errors with a snapshot. A crate includes this file by its
//! path and lists an example of each variant. If a variant is missing in the list, the tests of the
//! crate do not compile.

/// Lists the variants of enums as `enum Type { Variant, Variant { field: value }, ... }`, and other
/// errors as `struct value;`.
macro_rules! sentences {
    ($(enum $kind:ident {
        $($variant:ident $(($($value:expr),+))? $({ $($field:tt)* })?,)+
    })* $(struct $error:expr;)*) => {
        #[test]
        fn errors_have_the_texts_of_the_snapshot() {
            let mut texts = String::new();
            let mut add = |name: &str, error: &dyn std::error::Error| {
                let text = error.to_string();
                let is_line = !text.ends_with('.') && !text.contains('\n');
                assert!(is_line, "the message is a single line without a full stop: {text}");
                let first = text.chars().next().expect("the message is not empty");
                assert!(!first.is_uppercase(), "the message starts in lower case: {text}");
                texts += &format!("{name}: {text}\n");
            };
            $(
                let name = |error: &$kind| match error {
                    $($kind::$variant { .. } => concat!(stringify!($kind), "::", stringify!($variant)),)+
                };
                $({
                    let error = $kind::$variant $(($($value),+))? $({ $($field)* })?;
                    add(name(&error), &error);
                })+
            )*
            $(add(std::any::type_name_of_val(&$error).rsplit("::").next().unwrap(), &$error);)*
            insta::assert_snapshot!("errors", texts);
        }
    };
}
