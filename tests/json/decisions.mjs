// Where the suite leaves a choice, or where this server is stricter on purpose.

// The suite says these must be accepted. Two readers may understand them differently, so they are refused.
export const stricter = {
  "y_object_duplicated_key.json": "An object has the same key twice.",
  "y_object_duplicated_key_and_value.json": "An object has the same key twice.",
  "y_object_escaped_null_in_key.json": "A string contains NUL.",
  "y_string_null_escape.json": "A string contains NUL.",
};

// What the suite leaves open: true is accepted.
export const decided = {
  // A number that no double can hold would be a different one for every reader; one that a double only rounds is kept as
  // it is spelled, and nothing here computes with it.
  "i_number_double_huge_neg_exp.json": true,
  "i_number_huge_exp.json": false,
  "i_number_neg_int_huge_exp.json": false,
  "i_number_pos_double_huge_exp.json": false,
  "i_number_real_neg_overflow.json": false,
  "i_number_real_pos_overflow.json": false,
  "i_number_real_underflow.json": true,
  "i_number_too_big_neg_int.json": true,
  "i_number_too_big_pos_int.json": true,
  "i_number_very_big_negative_int.json": true,
  // Half a character is no text.
  "i_object_key_lone_2nd_surrogate.json": false,
  "i_string_1st_surrogate_but_2nd_missing.json": false,
  "i_string_1st_valid_surrogate_2nd_invalid.json": false,
  "i_string_incomplete_surrogate_and_escape_valid.json": false,
  "i_string_incomplete_surrogate_pair.json": false,
  "i_string_incomplete_surrogates_escape_valid.json": false,
  "i_string_invalid_lonely_surrogate.json": false,
  "i_string_invalid_surrogate.json": false,
  "i_string_inverted_surrogates_U+1D11E.json": false,
  "i_string_lone_second_surrogate.json": false,
  // Only UTF-8, and only the one spelling of each character; no byte order mark.
  "i_string_UTF-16LE_with_BOM.json": false,
  "i_string_UTF-8_invalid_sequence.json": false,
  "i_string_UTF8_surrogate_U+D800.json": false,
  "i_string_invalid_utf-8.json": false,
  "i_string_iso_latin_1.json": false,
  "i_string_lone_utf8_continuation_byte.json": false,
  "i_string_not_in_unicode_range.json": false,
  "i_string_overlong_sequence_2_bytes.json": false,
  "i_string_overlong_sequence_6_bytes.json": false,
  "i_string_overlong_sequence_6_bytes_null.json": false,
  "i_string_truncated-utf-8.json": false,
  "i_string_utf16BE_no_BOM.json": false,
  "i_string_utf16LE_no_BOM.json": false,
  "i_structure_UTF-8_BOM_empty_object.json": false,
  // Deeper than 32.
  "i_structure_500_nested_arrays.json": false,
};
