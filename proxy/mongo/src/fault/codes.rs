//! Error codes: from a SQLSTATE to MongoDB's number, from the number to its name.
//!
//! DocumentDB numbers its errors in an order of its own and puts the number, in base 36, behind an `M`:
//! `M001C` is the 49th. Inside documents it packs the five characters into 32 bits, six for each. The order is
//! that of its file `external_error_mapping.csv`; other SQLSTATEs are Postgres's own.

/// MongoDB's codes in DocumentDB's order.
const ORDER: &[i32] = &[
    1, 2, 5, 9, 14, 15, 20, 23, 26, 27, 28, 31, 34, 40, 43, 48, 52, 53, 54, 56, 57, 61, 66, 67, 68,
    72, 73, 85, 86, 111, 115, 118, 146, 159, 165, 166, 167, 181, 197, 224, 232, 241, 263, 276, 291,
    361, 10_065, 10_334, 11_000, 12_587, 13_026, 13_027, 13_068, 13_113, 13_297, 13_548, 15_947,
    15_952, 15_955, 15_957, 15_958, 15_959, 15_972, 15_976, 15_981, 16_004, 16_006, 16_007, 16_020,
    6_045_000, 16_034, 16_035, 16_410, 16_411, 16_433, 16_554, 16_610, 16_611, 16_612, 16_702,
    16_747, 16_748, 16_749, 16_755, 16_764, 16_766, 16_800, 16_801, 16_804, 16_874, 16_875, 16_876,
    16_878, 16_879, 16_880, 16_882, 16_883, 16_994, 17_040, 17_041, 17_042, 17_043, 17_044, 17_045,
    17_046, 17_047, 17_048, 17_049, 17_080, 17_081, 17_082, 17_083, 17_124, 17_194, 17_261, 17_276,
    17_308, 17_310, 17_419, 17_420, 18_628, 18_629, 18_533, 18_534, 18_535, 18_536, 18_537, 28_625,
    28_646, 28_647, 28_648, 28_650, 28_651, 28_656, 28_657, 28_664, 51_044, 51_045, 50_989, 28_667,
    28_680, 28_689, 28_690, 28_691, 28_714, 28_724, 28_725, 28_726, 28_727, 28_728, 28_729, 28_745,
    28_746, 28_747, 28_748, 28_749, 28_756, 28_757, 28_758, 28_759, 28_761, 28_762, 28_763, 28_764,
    28_765, 28_766, 28_769, 28_803, 28_808, 28_809, 28_810, 28_811, 28_812, 28_818, 28_822, 31_032,
    31_002, 31_022, 31_023, 31_024, 31_034, 31_095, 31_109, 31_119, 31_120, 31_138, 31_249, 31_250,
    31_253, 31_254, 31_256, 31_271, 31_276, 31_308, 31_325, 31_393, 31_395, 34_435, 31_441, 34_443,
    34_444, 34_445, 34_446, 34_447, 34_448, 34_449, 34_450, 34_451, 34_452, 34_453, 34_454, 34_455,
    34_460, 34_461, 34_462, 34_463, 34_464, 34_465, 34_466, 34_467, 34_468, 34_471, 34_473, 40_060,
    40_061, 40_062, 40_063, 40_064, 40_065, 40_066, 40_067, 40_068, 40_075, 40_076, 40_077, 40_078,
    40_079, 40_080, 40_081, 40_085, 40_086, 40_087, 40_090, 40_091, 40_092, 40_093, 40_094, 40_096,
    40_097, 40_100, 40_101, 40_102, 40_103, 40_104, 40_105, 40_147, 40_156, 40_158, 40_160, 40_169,
    40_177, 40_185, 40_191, 40_192, 40_193, 40_194, 40_195, 40_196, 40_197, 40_198, 40_199, 40_200,
    40_201, 40_202, 40_218, 40_228, 40_234, 40_238, 40_272, 40_319, 40_321, 40_323, 40_324, 40_352,
    40_386, 40_390, 40_391, 40_392, 40_393, 40_394, 40_395, 40_396, 40_397, 40_398, 40_400, 40_414,
    40_415, 40_485, 40_489, 40_515, 40_516, 40_517, 40_518, 40_519, 40_520, 40_521, 40_522, 40_523,
    40_524, 40_525, 40_533, 40_535, 40_536, 40_539, 40_540, 40_541, 40_542, 40_600, 40_601, 40_602,
    40_603, 40_235, 40_237, 40_647, 40_684, 50_694, 50_695, 50_696, 50_699, 50_700, 50_723, 50_752,
    50_759, 51_024, 51_047, 51_074, 51_075, 51_080, 51_081, 51_082, 51_083, 51_091, 51_103, 51_104,
    51_105, 51_106, 51_107, 51_108, 51_109, 51_110, 51_111, 51_132, 51_134, 51_151, 51_156, 51_178,
    51_183, 51_185, 51_186, 51_187, 51_191, 51_246, 51_276, 51_247, 51_743, 51_744, 51_745, 51_746,
    51_747, 51_748, 51_749, 51_750, 51_751, 327_391, 327_392, 1_257_300, 3_040_501, 4_031_700,
    4_161_100, 4_161_101, 2_942_500, 2_942_501, 2_942_502, 2_942_503, 2_942_504, 2_942_505,
    2_942_506, 3_041_701, 3_041_702, 3_041_703, 4_161_102, 4_161_103, 4_161_104, 4_161_105,
    4_161_106, 4_161_107, 4_161_108, 4_161_109, 4_890_500, 4_940_400, 4_940_401, 5_166_400,
    5_166_401, 5_166_402, 5_166_403, 5_166_404, 5_166_405, 5_166_406, 5_107_200, 5_107_201,
    5_166_301, 5_166_302, 5_166_303, 5_166_304, 5_166_305, 5_166_307, 5_339_900, 5_339_901,
    5_339_902, 5_429_413, 5_429_414, 5_429_513, 5_439_007, 5_439_008, 5_439_009, 5_439_010,
    5_439_012, 5_439_013, 5_439_014, 5_439_015, 5_439_016, 5_439_017, 5_439_018, 5_626_500,
    5_654_600, 5_654_601, 5_654_602, 5_687_301, 5_687_302, 5_687_400, 5_687_401, 5_746_102,
    5_787_801, 5_787_900, 5_787_901, 5_787_902, 5_787_903, 5_787_906, 5_787_907, 5_787_908,
    5_788_200, 5_858_203, 5_976_500, 5_371_601, 5_371_602, 5_371_603, 121, 605_001, 6_050_106,
    16_990, 13_111, 5_788_001, 5_788_002, 5_788_003, 5_788_004, 5_788_005, 5_733_201, 5_733_401,
    5_733_402, 5_733_403, 5_733_406, 5_733_408, 5_733_409, 5_876_900, 5_897_900, 5_946_802,
    6_007_200, 6_053_600, 6_586_400, 8_993_000, 5_423_900, 5_423_901, 5_423_902, 5_490_710,
    5_624_900, 5_624_901, 6_050_202, 6_050_204, 5_788_604, 31_170, 31_465, 40_181, 16, 15_998,
    40_229, 8000, 55, 40_236, 17_053, 7_429_703, 7_436_100, 7_750_301, 7_750_302, 7_750_303,
    51_003, 7_749_501, 5_860_402, 7_555_701, 7_555_702, 3_041_704, 4_341_107, 42_501, 10_107,
    40_239, 40_240, 40_241, 40_242, 40_243, 40_244, 40_245, 40_246, 40_257, 40_258, 40_260, 40_261,
    143, 13_103, 17_385, 31_319, 31_320, 31_321,
];

/// Codes that this crate gives by itself, or looks for.
pub(crate) mod known {
    pub(crate) const INTERNAL_ERROR: i32 = 1;
    pub(crate) const BAD_VALUE: i32 = 2;
    pub(crate) const HOST_UNREACHABLE: i32 = 6;
    pub(crate) const FAILED_TO_PARSE: i32 = 9;
    pub(crate) const UNAUTHORIZED: i32 = 13;
    pub(crate) const TYPE_MISMATCH: i32 = 14;
    pub(crate) const OVERFLOW: i32 = 15;
    pub(crate) const USER_NOT_FOUND: i32 = 11;
    pub(crate) const INVALID_LENGTH: i32 = 16;
    pub(crate) const PROTOCOL_ERROR: i32 = 17;
    pub(crate) const AUTHENTICATION_FAILED: i32 = 18;
    pub(crate) const ILLEGAL_OPERATION: i32 = 20;
    pub(crate) const INVALID_BSON: i32 = 22;
    pub(crate) const NAMESPACE_NOT_FOUND: i32 = 26;
    pub(crate) const ROLE_NOT_FOUND: i32 = 31;
    pub(crate) const CURSOR_NOT_FOUND: i32 = 43;
    pub(crate) const NAMESPACE_EXISTS: i32 = 48;
    pub(crate) const MAX_TIME_MS_EXPIRED: i32 = 50;
    pub(crate) const COMMAND_NOT_FOUND: i32 = 59;
    pub(crate) const INVALID_OPTIONS: i32 = 72;
    pub(crate) const INVALID_NAMESPACE: i32 = 73;
    pub(crate) const UNKNOWN_WRITE_CONCERN: i32 = 79;
    pub(crate) const SHUTDOWN_IN_PROGRESS: i32 = 91;
    pub(crate) const UNSATISFIABLE_WRITE_CONCERN: i32 = 100;
    pub(crate) const WRITE_CONFLICT: i32 = 112;
    pub(crate) const COMMAND_NOT_SUPPORTED: i32 = 115;
    pub(crate) const COMMAND_FAILED: i32 = 125;
    pub(crate) const FAILED_TO_SATISFY_READ_PREFERENCE: i32 = 133;
    pub(crate) const CURSOR_IN_USE: i32 = 143;
    pub(crate) const EXCEEDED_MEMORY_LIMIT: i32 = 146;
    pub(crate) const MAX_STALENESS_OUT_OF_RANGE: i32 = 160;
    pub(crate) const QUERY_PLAN_KILLED: i32 = 175;
    pub(crate) const CLIENT_METADATA_CANNOT_BE_MUTATED: i32 = 186;
    pub(crate) const INVALID_INDEX_SPECIFICATION_OPTION: i32 = 197;
    pub(crate) const TRANSACTION_TOO_OLD: i32 = 225;
    pub(crate) const CURSOR_KILLED: i32 = 237;
    pub(crate) const NO_SUCH_TRANSACTION: i32 = 251;
    pub(crate) const TRANSACTION_COMMITTED: i32 = 256;
    pub(crate) const EXCEEDED_TIME_LIMIT: i32 = 262;
    pub(crate) const OPERATION_NOT_SUPPORTED_IN_TRANSACTION: i32 = 263;
    pub(crate) const TOO_MANY_LOGICAL_SESSIONS: i32 = 261;
    pub(crate) const FAIL_POINT_SET_FAILED: i32 = 266;
    pub(crate) const API_VERSION_ERROR: i32 = 322;
    pub(crate) const API_STRICT_ERROR: i32 = 323;
    pub(crate) const OVERLOAD: i32 = 462;
    pub(crate) const NOT_WRITABLE_PRIMARY: i64 = 10_107;
    pub(crate) const DUPLICATE_KEY: i32 = 11_000;
    pub(crate) const SEARCH_NOT_ENABLED: i32 = 31_082;
    pub(crate) const INTERRUPTED: i32 = 11_601;
    pub(crate) const MISSING_FIELD: i32 = 40_414;
    pub(crate) const UNKNOWN_FIELD: i32 = 40_415;
    pub(crate) const USER_EXISTS: i32 = 51_003;
}

/// What tells MongoDB that a code has no name.
const NAMES: &[(i32, &str)] = &[
    (1, "InternalError"),
    (2, "BadValue"),
    (5, "GraphContainsCycle"),
    (6, "HostUnreachable"),
    (7, "HostNotFound"),
    (8, "UnknownError"),
    (9, "FailedToParse"),
    (11, "UserNotFound"),
    (13, "Unauthorized"),
    (14, "TypeMismatch"),
    (15, "Overflow"),
    (16, "InvalidLength"),
    (17, "ProtocolError"),
    (18, "AuthenticationFailed"),
    (20, "IllegalOperation"),
    (22, "InvalidBSON"),
    (23, "AlreadyInitialized"),
    (24, "LockTimeout"),
    (26, "NamespaceNotFound"),
    (27, "IndexNotFound"),
    (28, "PathNotViable"),
    (31, "RoleNotFound"),
    (34, "CannotBackfillArray"),
    (40, "ConflictingUpdateOperators"),
    (43, "CursorNotFound"),
    (48, "NamespaceExists"),
    (50, "MaxTimeMSExpired"),
    (52, "DollarPrefixedFieldName"),
    (53, "InvalidIdField"),
    (54, "NotSingleValueField"),
    (55, "InvalidDBRef"),
    (56, "EmptyFieldName"),
    (57, "DottedFieldName"),
    (59, "CommandNotFound"),
    (61, "ShardKeyNotFound"),
    (64, "WriteConcernFailed"),
    (66, "ImmutableField"),
    (67, "CannotCreateIndex"),
    (68, "IndexAlreadyExists"),
    (72, "InvalidOptions"),
    (73, "InvalidNamespace"),
    (79, "UnknownReplWriteConcern"),
    (85, "IndexOptionsConflict"),
    (86, "IndexKeySpecsConflict"),
    (89, "NetworkTimeout"),
    (91, "ShutdownInProgress"),
    (100, "UnsatisfiableWriteConcern"),
    (111, "NotExactValueField"),
    (112, "WriteConflict"),
    (115, "CommandNotSupported"),
    (118, "NamespaceNotSharded"),
    (121, "DocumentValidationFailure"),
    (125, "CommandFailed"),
    (133, "FailedToSatisfyReadPreference"),
    (134, "ReadConcernMajorityNotAvailableYet"),
    (143, "CursorInUse"),
    (146, "ExceededMemoryLimit"),
    (159, "DurationOverflow"),
    (160, "MaxStalenessOutOfRange"),
    (165, "ViewDepthLimitExceeded"),
    (166, "CommandNotSupportedOnView"),
    (167, "OptionNotSupportedOnView"),
    (175, "QueryPlanKilled"),
    (181, "AmbiguousIndexKeyPattern"),
    (186, "ClientMetadataCannotBeMutated"),
    (189, "PrimarySteppedDown"),
    (197, "InvalidIndexSpecificationOption"),
    (224, "QueryFeatureNotAllowed"),
    (225, "TransactionTooOld"),
    (232, "MaxSubPipelineDepthExceeded"),
    (234, "RetryChangeStream"),
    (237, "CursorKilled"),
    (238, "NotImplemented"),
    (241, "ConversionFailure"),
    (246, "SnapshotUnavailable"),
    (251, "NoSuchTransaction"),
    (256, "TransactionCommitted"),
    (261, "TooManyLogicalSessions"),
    (262, "ExceededTimeLimit"),
    (263, "OperationNotSupportedInTransaction"),
    (266, "FailPointSetFailed"),
    (267, "PreparedTransactionInProgress"),
    (276, "IndexBuildAborted"),
    (280, "ChangeStreamFatalError"),
    (286, "ChangeStreamHistoryLost"),
    (291, "NoQueryExecutionPlans"),
    (322, "APIVersionError"),
    (323, "APIStrictError"),
    (361, "CollectionUUIDMismatch"),
    (391, "ReauthenticationRequired"),
    (462, "IngressRequestRateLimitExceeded"),
    (9001, "SocketException"),
    (10_107, "NotWritablePrimary"),
    (10_334, "BSONObjectTooLarge"),
    (11_000, "DuplicateKey"),
    (11_600, "InterruptedAtShutdown"),
    (11_601, "Interrupted"),
    (11_602, "InterruptedDueToReplStateChange"),
    (12_587, "BackgroundOperationInProgressForNamespace"),
    (13_113, "MergeStageNoMatchingDocument"),
    (13_297, "DatabaseDifferCase"),
    (13_388, "StaleConfig"),
    (13_435, "NotPrimaryNoSecondaryOk"),
    (13_436, "NotPrimaryOrSecondary"),
    (14_031, "OutOfDiskSpace"),
    (31_082, "SearchNotEnabled"),
];

/// The name of a code; codes without one are called by where they come from.
pub(crate) fn name(code: i32) -> String {
    match NAMES.binary_search_by_key(&code, |(known, _)| *known) {
        Ok(at) => NAMES.get(at).map_or("", |(_, name)| name).to_owned(),
        Err(_) => format!("Location{code}"),
    }
}

/// Whether a code tells of a state that passes: MongoDB's errors after which drivers try again.
pub(crate) fn may_pass(code: i32) -> bool {
    matches!(
        code,
        6 | 7 | 89 | 91 | 134 | 189 | 262 | 9001 | 10_107 | 11_600 | 11_602 | 13_435 | 13_436
    )
}

/// Whether a code tells that a transaction has come to nothing, and can be run again.
pub(crate) fn ends_transaction(code: i32) -> bool {
    matches!(code, 24 | 112 | 246 | 251 | 267)
}

/// The code of a SQLSTATE; `None` if it says nothing to a MongoDB client.
pub(crate) fn of_sqlstate(state: &str) -> Option<i32> {
    if let Some(digits) = state.strip_prefix('M') {
        let ordinal = usize::from_str_radix(digits, 36).ok()?;
        return ORDER.get(ordinal).copied();
    }
    Some(match state {
        "23505" | "23P01" => known::DUPLICATE_KEY,
        "28000" | "28P01" | "42501" => known::UNAUTHORIZED,
        "40001" | "40P01" | "55P03" => known::WRITE_CONFLICT,
        "42P01" | "3F000" => known::NAMESPACE_NOT_FOUND,
        "0A000" => known::COMMAND_NOT_SUPPORTED,
        "22023" | "22P02" | "22P03" => known::BAD_VALUE,
        "53100" => 14_031,
        "53200" | "54000" => known::EXCEEDED_MEMORY_LIMIT,
        "53300" => known::OVERLOAD,
        "57014" => known::INTERRUPTED,
        // To a driver, the codes that MongoDB has for these would say that it is the proxy which steps down or goes.
        "25006" | "57P01" | "57P02" | "57P03" => known::HOST_UNREACHABLE,
        _ => return None,
    })
}

/// Unpacks a SQLSTATE that stands as a number in a document.
pub(crate) fn unpacked(packed: i32) -> String {
    let bits = packed.cast_unsigned();
    (0..5)
        .map(|place| {
            let six = (bits >> (6 * place)) & 0x3f;
            char::from(b'0' + u8::try_from(six).unwrap_or_default())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Fault;

    #[test]
    fn a_sqlstate_of_the_extension_is_its_code() {
        assert_eq!(of_sqlstate("M0000"), Some(1));
        assert_eq!(of_sqlstate("M001C"), Some(11_000));
        assert_eq!(of_sqlstate("M007U"), Some(40_324));
        assert_eq!(of_sqlstate("M0088"), Some(40_415));
        assert_eq!(of_sqlstate("MZZZZ"), None);
        assert_eq!(of_sqlstate("M00é"), None);
        assert_eq!(of_sqlstate("40001"), Some(112));
        assert_eq!(of_sqlstate("XX000"), None);
    }

    #[test]
    fn a_packed_sqlstate_is_unpacked() {
        assert_eq!(unpacked(319_029_277), "M001C");
        assert_eq!(unpacked(50_331_677), "M0003");
        assert_eq!(unpacked(-1).len(), 5);
    }

    #[test]
    fn labels_follow_from_the_code_and_the_place() {
        let labels = |fault: Fault| fault.labels;
        let fault = |code| Fault::new(code, "");
        let transient = ["TransientTransactionError"];
        for code in [91, 189, 10_107, 112, 251] {
            assert_eq!(labels(fault(code).in_transaction()), transient, "{code}");
        }
        assert!(labels(fault(11_000).in_transaction()).is_empty());
        // What passes by itself leaves the outcome of a commit open.
        assert!(labels(fault(91).at_commit()).is_empty());
        assert_eq!(labels(fault(251).at_commit()), transient);
    }

    #[test]
    fn names_are_in_order() {
        assert!(NAMES.is_sorted_by_key(|(code, _)| *code));
        assert_eq!(name(11_000), "DuplicateKey");
        assert_eq!(name(40_324), "Location40324");
    }
}
