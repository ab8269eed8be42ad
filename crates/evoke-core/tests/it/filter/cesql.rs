//! Every rule of the language, as an expression and what it comes to.

use evoke_core::filter::cesql::{Expression, Type};

use super::order;

/// The value, and after it the class of the error.
fn value(text: &str) -> String {
    let expression = match Expression::parse(text) {
        Ok(expression) => expression,
        Err(error) => return format!("parse: {error}"),
    };
    let event = order();
    let evaluation = expression.evaluate(&event);
    let value = serde_json::to_string(&evaluation.value).unwrap();
    match evaluation.error {
        Some(error) => format!("{value} {}", error.kind),
        None => value,
    }
}

#[track_caller]
fn all(cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        assert_eq!(&value(text), expected, "{text}");
    }
}

#[test]
fn literals_are_of_three_types() {
    all(&[
        ("TRUE", "true"),
        ("fAlSe", "false"),
        ("0", "0"),
        ("007", "7"),
        ("+5", "5"),
        ("-5", "-5"),
        ("2147483647", "2147483647"),
        ("-2147483648", "-2147483648"),
        ("'text'", r#""text""#),
        (r#""text""#, r#""text""#),
        ("''", r#""""#),
        ("'TeXt'", r#""TeXt""#),
        ("'Grüße 🎉'", r#""Grüße 🎉""#),
        ("'a\nb'", r#""a\nb""#),
    ]);
}

#[test]
fn a_backslash_takes_the_meaning_of_its_own_quote_only() {
    all(&[
        (r"'it\'s'", r#""it's""#),
        (r#""say \"so\"""#, r#""say \"so\"""#),
        (r#"'say "so"'"#, r#""say \"so\"""#),
        (r#"'say \"so\"'"#, r#""say \\\"so\\\"""#),
        (r"'a\b'", r#""a\\b""#),
        (r"'a\\'", r#""a\\\\""#),
        (r"'a\\\'b'", r#""a\\\\'b""#),
    ]);
}

#[test]
fn attributes_have_the_types_of_the_event() {
    all(&[
        ("id", r#""order-7""#),
        ("ID", r#""order-7""#),
        ("specversion", r#""1.0""#),
        ("source", r#""https://shop.example/orders""#),
        ("type", r#""order.paid""#),
        ("time", r#""2026-11-21T08:30:00+01:00""#),
        ("datacontenttype", r#""application/json""#),
        ("priority", "5"),
        ("vip", "true"),
        ("hops", r#""12""#),
        ("dataschema", "false missingAttribute"),
        ("missing", "false missingAttribute"),
        ("(missing)", "false missingAttribute"),
        ("data", "false missingAttribute"),
    ]);
}

#[test]
fn exists_asks_and_never_fails() {
    all(&[
        ("EXISTS id", "true"),
        ("EXISTS SUBJECT", "true"),
        ("exists priority", "true"),
        ("EXISTS missing", "false"),
        ("NOT EXISTS missing", "true"),
        ("EXISTS missing OR TRUE", "true"),
    ]);
}

#[test]
fn arithmetic_is_that_of_32_bits() {
    all(&[
        ("1 + 2 * 3", "7"),
        ("(1 + 2) * 3", "9"),
        ("10 - 3 - 2", "5"),
        ("4-1", "3"),
        ("4 + -1", "3"),
        ("4 - -1", "5"),
        ("8 / 2 / 2", "2"),
        ("7 / 2", "3"),
        ("-7 / 2", "-3"),
        ("7 % 3", "1"),
        ("-7 % 3", "-1"),
        ("7 % -3", "1"),
        ("2 * 3 % 4", "2"),
        ("--5", "5"),
        ("- (2 + 3)", "-5"),
        ("1 / 0", "0 math"),
        ("1 % 0", "0 math"),
        ("2147483647 + 1", "0 math"),
        ("-2147483648 - 1", "0 math"),
        ("65536 * 65536", "0 math"),
        ("--2147483648", "0 math"),
        ("-2147483648 / -1", "0 math"),
        ("-2147483648 % -1", "0"),
    ]);
}

#[test]
fn operands_are_cast_to_what_the_operator_needs() {
    all(&[
        ("'5' + 3", "8"),
        ("5 + '+3'", "8"),
        ("5 + TRUE", "6"),
        ("-TRUE", "-1"),
        ("-'10'", "-10"),
        ("hops * 2", "24"),
        ("priority < '6'", "true"),
        ("1 + ' 2'", "0 cast"),
        ("1 + '2147483648'", "0 cast"),
        ("1 + ''", "0 cast"),
        ("'a' < 1", "false cast"),
        ("NOT 'TRUE'", "false"),
        ("NOT 'nein'", "false cast"),
        ("NOT priority", "false"),
        ("NOT (1 - 1)", "true"),
        ("1 AND 'true'", "true"),
        ("priority AND vip", "true"),
    ]);
}

#[test]
fn not_of_a_number_is_as_the_conformance_kit_has_it() {
    all(&[("NOT 10", "true cast"), ("NOT 0", "true cast"), ("FALSE OR NOT 10", "false cast")]);
}

#[test]
fn equality_casts_the_left_operand_to_the_type_of_the_right() {
    all(&[
        ("1 = 1", "true"),
        ("1 != 2", "true"),
        ("1 <> 1", "false"),
        ("'a' = 'A'", "false"),
        ("TRUE = 'TRUE'", "false"),
        ("TRUE = 'true'", "true"),
        ("'TRUE' = TRUE", "true"),
        ("flag = TRUE", "true"),
        ("hops = 12", "true"),
        ("12 = hops", "true"),
        ("'012' = 12", "true"),
        ("12 = '012'", "false"),
        ("1 = TRUE", "true"),
        ("'a' = 1", "false cast"),
        ("'a' != 1", "false cast"),
        ("missing = 1", "false missingAttribute"),
        ("missing != 1", "false missingAttribute"),
        ("1 < 2 = TRUE", "true"),
        ("1 < 2 < 3", "true"),
    ]);
}

#[test]
fn comparisons_are_of_numbers() {
    all(&[
        ("2 < 3", "true"),
        ("3 < 3", "false"),
        ("3 <= 3", "true"),
        ("3 > 2", "true"),
        ("3 >= 4", "false"),
        ("-5 < hops", "true"),
    ]);
}

#[test]
fn logic_is_read_from_the_left_and_stops_when_it_is_settled() {
    all(&[
        ("TRUE AND TRUE", "true"),
        ("TRUE OR FALSE AND FALSE", "false"),
        ("TRUE OR (FALSE AND FALSE)", "true"),
        ("FALSE AND FALSE OR TRUE", "true"),
        ("TRUE XOR TRUE", "false"),
        ("TRUE XOR FALSE", "true"),
        ("TRUE XOR TRUE OR TRUE", "true"),
        ("FALSE AND missing", "false"),
        ("TRUE OR missing", "true"),
        ("TRUE AND missing", "false missingAttribute"),
        ("missing AND FALSE", "false missingAttribute"),
        ("missing OR TRUE", "false missingAttribute"),
        ("FALSE XOR missing", "false missingAttribute"),
        ("FALSE AND 1 / 0 OR TRUE", "true"),
        ("TRUE AND (1 != 1 / 0)", "false math"),
    ]);
}

#[test]
fn unary_operators_bind_more_tightly_than_all_others() {
    all(&[
        ("NOT TRUE OR TRUE", "true"),
        ("NOT vip = FALSE", "true"),
        ("-1 + 2", "1"),
        ("NOT - 1", "false"),
        ("-'1' LIKE '-1'", "true"),
        ("NOT vip LIKE 'fal%'", "true"),
    ]);
}

#[test]
fn like_has_gaps_single_characters_and_escapes() {
    all(&[
        ("id LIKE 'order-7'", "true"),
        ("id LIKE 'order'", "false"),
        ("id LIKE 'order%'", "true"),
        ("id LIKE '%7'", "true"),
        ("id LIKE '%er-%'", "true"),
        ("id LIKE '%o%r%7%'", "true"),
        ("id LIKE '%7%7%'", "false"),
        ("id LIKE 'order-_'", "true"),
        ("id LIKE 'order-__'", "false"),
        ("id LIKE '%_'", "true"),
        ("'' LIKE '_'", "false"),
        ("'' LIKE '%'", "true"),
        ("'' LIKE ''", "true"),
        ("'a' LIKE ''", "false"),
        ("'aab' LIKE '%ab'", "true"),
        ("'aXbaYb' LIKE '%a_b'", "true"),
        ("'ab' LIKE 'ab%ab'", "false"),
        ("'äöü' LIKE '_ö_'", "true"),
        ("'a\nb' LIKE 'a_b'", "true"),
        ("'100%' LIKE '100\\%'", "true"),
        ("'100x' LIKE '100\\%'", "false"),
        ("'a_b' LIKE 'a\\_b'", "true"),
        ("'axb' LIKE 'a\\_b'", "false"),
        ("'a\\b' LIKE 'a\\b'", "true"),
        ("id NOT LIKE 'x%'", "true"),
        ("priority LIKE '5'", "true"),
        ("vip LIKE 'tr__'", "true"),
        ("missing LIKE '%'", "false missingAttribute"),
        ("missing NOT LIKE '%'", "false missingAttribute"),
        ("id LIKE 'o%' LIKE 'true'", "true"),
    ]);
}

#[test]
fn in_casts_the_set_to_the_type_of_the_item() {
    all(&[
        ("1 IN (1, 2)", "true"),
        ("3 IN (1, 2)", "false"),
        ("3 NOT IN (1, 2)", "true"),
        ("id IN ('a', id)", "true"),
        ("1 IN ('1')", "true"),
        ("'1' IN (1)", "true"),
        ("'TRUE' IN (TRUE)", "false"),
        ("TRUE IN ('TRUE')", "true"),
        ("1 IN (1, missing)", "true"),
        ("1 IN (missing, 1)", "false missingAttribute"),
        ("1 IN ('a', 1)", "false cast"),
        ("1 NOT IN ('a')", "false cast"),
        ("missing IN (1)", "false missingAttribute"),
    ]);
}

#[test]
fn functions_of_texts_count_characters() {
    all(&[
        ("LENGTH('äöü🎉')", "4"),
        ("length(12345)", "5"),
        ("LENGTH(TRUE)", "4"),
        ("CONCAT()", r#""""#),
        ("CONCAT('a', 1, TRUE)", r#""a1true""#),
        ("CONCAT_WS('-')", r#""""#),
        ("CONCAT_WS('-', 'a')", r#""a""#),
        ("CONCAT_WS('-', 'a', 'b', 3)", r#""a-b-3""#),
        ("LOWER('ÄBC')", r#""äbc""#),
        ("UPPER('äbcß')", r#""ÄBCSS""#),
        ("TRIM('\u{a0}\u{2003} a b \t')", r#""a b""#),
        ("TRIM('\u{1}a')", r#""\u0001a""#),
        ("LEFT('äöü', 2)", r#""äö""#),
        ("LEFT('äöü', 9)", r#""äöü""#),
        ("LEFT('äöü', 0)", r#""""#),
        ("LEFT('äöü', -1)", r#""äöü" functionEvaluation"#),
        ("RIGHT('äöü', 2)", r#""öü""#),
        ("RIGHT('äöü', 9)", r#""äöü""#),
        ("RIGHT('äöü', -1)", r#""äöü" functionEvaluation"#),
    ]);
}

#[test]
fn substrings_start_at_one_or_from_the_end() {
    all(&[
        ("SUBSTRING('äbcdef', 1)", r#""äbcdef""#),
        ("SUBSTRING('äbcdef', 6)", r#""f""#),
        ("SUBSTRING('äbcdef', -2)", r#""ef""#),
        ("SUBSTRING('äbcdef', -6, 2)", r#""äb""#),
        ("SUBSTRING('äbcdef', 2, 3)", r#""bcd""#),
        ("SUBSTRING('äbcdef', 2, 99)", r#""bcdef""#),
        ("SUBSTRING('äbcdef', 2, 0)", r#""""#),
        ("SUBSTRING('äbcdef', 0)", r#""""#),
        ("SUBSTRING('', 0)", r#""""#),
        ("SUBSTRING('äbcdef', 7)", r#""" functionEvaluation"#),
        ("SUBSTRING('äbcdef', -7)", r#""" functionEvaluation"#),
        ("SUBSTRING('äbcdef', -2147483648)", r#""" functionEvaluation"#),
        ("SUBSTRING('äbcdef', 1, -1)", r#""" functionEvaluation"#),
        ("SUBSTRING('äbcdef', 'x')", r#""" cast"#),
    ]);
}

#[test]
fn functions_of_numbers_and_casts() {
    all(&[
        ("ABS(-3)", "3"),
        ("ABS('-3')", "3"),
        ("ABS(-2147483648)", "2147483647 math"),
        ("1 + ABS(-2147483648)", "0 math"),
        ("INT('12')", "12"),
        ("INT(TRUE)", "1"),
        ("INT('1.5')", "0 cast"),
        ("BOOL('False')", "false"),
        ("BOOL(-50)", "true"),
        ("BOOL('1')", "false cast"),
        ("STRING(-1)", r#""-1""#),
        ("STRING(FALSE)", r#""false""#),
        ("IS_INT('12')", "true"),
        ("IS_INT('a')", "false"),
        ("IS_BOOL('TRUE')", "true"),
        ("IS_BOOL('a')", "false"),
    ]);
}

#[test]
fn an_error_gives_the_zero_value_of_what_is_around_it() {
    all(&[
        ("missing * 5", "0 missingAttribute"),
        ("1 / missing", "0 missingAttribute"),
        ("missing / 0", "0 missingAttribute"),
        ("-missing", "0 missingAttribute"),
        ("NOT missing", "false missingAttribute"),
        ("UPPER(missing)", r#""" missingAttribute"#),
        ("LENGTH(missing)", "0 missingAttribute"),
        ("LEFT('abc', -1) = 'abc'", "false functionEvaluation"),
        ("FOO()", "false missingFunction"),
        ("FOO(1, missing)", "false missingFunction"),
        ("1 + FOO()", "0 missingFunction"),
        ("CONCAT_WS()", "false missingFunction"),
        ("ABS(1, 2)", "false missingFunction"),
    ]);
}

#[test]
fn what_is_no_expression_says_where_and_why() {
    let wrong = [
        ("", (1, 1), "the expression is empty"),
        ("  ", (1, 3), "an operand is missing before the end"),
        ("ABS(", (1, 5), "an operand is missing before the end"),
        ("(TRUE", (1, 1), "the parenthesis is not closed"),
        ("TRUE)", (1, 5), ") cannot stand here"),
        ("a b", (1, 3), "b cannot stand here"),
        ("a AND\n  OR b", (2, 3), "an operand is missing before OR"),
        ("ä = 1", (1, 1), "'ä' means nothing here"),
        ("x = 'ä' & y", (1, 9), "'&' means nothing here"),
        ("data.total > 3", (1, 5), "'.' means nothing here"),
        ("'open", (1, 1), "the text has no closing '"),
        (r"'open\'", (1, 1), "the text has no closing '"),
        ("'a''b'", (1, 4), "'b' cannot stand here"),
        ("2147483648", (1, 1), "2147483648 is beyond 32 bits"),
        ("-2147483649", (1, 1), "-2147483649 is beyond 32 bits"),
        ("id LIKE 5", (1, 9), "the pattern of LIKE is missing before 5"),
        ("id LIKE source", (1, 9), "the pattern of LIKE is missing before source"),
        ("id IN ()", (1, 8), "an operand is missing before )"),
        ("id IN 5", (1, 7), "the set of IN is missing before 5"),
        ("EXISTS (id)", (1, 8), "the attribute of EXISTS is missing before ("),
        ("id NOT = 5", (1, 4), "NOT cannot stand here"),
        ("my_ext = 1", (1, 1), "my_ext is no attribute: their names have only letters and digits"),
        ("f1(2)", (1, 1), "f1 is no function: their names have only letters and _"),
        ("_x(2)", (1, 1), "\"_x\" is no name"),
        ("x = ;", (1, 5), "';' means nothing here"),
        ("+ 5", (1, 1), "an operand is missing before +"),
    ];
    for (text, place, message) in wrong {
        let error = Expression::parse(text).unwrap_err();
        assert_eq!((error.position(text), error.message.as_str()), (place, message), "{text}");
    }
}

#[test]
fn what_can_be_known_before_there_is_an_event_is() {
    let ty = |text: &str| Expression::parse(text).unwrap().ty();
    assert_eq!(ty("type = 'a'"), Some(Type::Boolean));
    assert_eq!(ty("type"), Some(Type::String));
    assert_eq!(ty("1 + vip"), Some(Type::Integer));
    assert_eq!(ty("vip"), None);
    assert_eq!(ty("LENGTH(vip)"), Some(Type::Integer));
    let text = "LENGHT(id) > 3 AND (UPPER(id, id) = 'A')";
    let expression = Expression::parse(text).unwrap();
    let unknown: Vec<_> = expression.unknown_functions().into_iter().map(|span| span.of(text)).collect();
    assert_eq!(unknown, ["LENGHT", "UPPER"]);
    let mixes = |text: &str| Expression::parse(text).unwrap().mixes_logic();
    assert!(mixes("a AND b OR c") && mixes("f(a OR b AND c)"));
    assert!(!mixes("a AND b AND c") && !mixes("(a AND b) OR c"));
}

#[test]
fn only_true_without_an_error_passes() {
    let passes = |text: &str| Expression::parse(text).unwrap().passes(&order());
    assert!(passes("vip") && passes("id LIKE 'order%'"));
    assert!(!passes("flag") && !passes("priority") && !passes("NOT 10") && !passes("missing OR TRUE"));
}
