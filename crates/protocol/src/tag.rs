//! The first byte of every message, by direction.
//!
//! Source: PostgreSQL documentation, "Message Formats".

/// Messages from a client.
pub mod frontend {
    /// Bind: makes a portal of a prepared statement.
    pub const BIND: u8 = b'B';
    /// Close: forgets a prepared statement or a portal.
    pub const CLOSE: u8 = b'C';
    /// CopyData: a piece of the data of COPY FROM STDIN.
    pub const COPY_DATA: u8 = b'd';
    /// CopyDone: the data of COPY FROM STDIN is complete.
    pub const COPY_DONE: u8 = b'c';
    /// CopyFail: the data of COPY FROM STDIN cannot be had.
    pub const COPY_FAIL: u8 = b'f';
    /// Describe: asks for the shape of a statement or portal.
    pub const DESCRIBE: u8 = b'D';
    /// Execute: runs a portal.
    pub const EXECUTE: u8 = b'E';
    /// Flush: asks for what was answered so far.
    pub const FLUSH: u8 = b'H';
    /// FunctionCall: calls a function by its oid.
    pub const FUNCTION_CALL: u8 = b'F';
    /// Parse: prepares a statement.
    pub const PARSE: u8 = b'P';
    /// PasswordMessage, SASLInitialResponse and SASLResponse.
    pub const PASSWORD: u8 = b'p';
    /// Query: the simple protocol.
    pub const QUERY: u8 = b'Q';
    /// Sync: ends a pipeline of the extended protocol.
    pub const SYNC: u8 = b'S';
    /// Terminate: the client leaves.
    pub const TERMINATE: u8 = b'X';
}

/// Messages from a server.
pub mod backend {
    /// Authentication, in all its kinds.
    pub const AUTHENTICATION: u8 = b'R';
    /// BackendKeyData: what a cancel request must name.
    pub const BACKEND_KEY_DATA: u8 = b'K';
    /// BindComplete: the answer to Bind.
    pub const BIND_COMPLETE: u8 = b'2';
    /// CloseComplete: the answer to Close.
    pub const CLOSE_COMPLETE: u8 = b'3';
    /// CommandComplete: the tag of a statement that ended well.
    pub const COMMAND_COMPLETE: u8 = b'C';
    /// CopyBothResponse: streaming replication begins.
    pub const COPY_BOTH: u8 = b'W';
    /// CopyData: a piece of the data of COPY TO STDOUT.
    pub const COPY_DATA: u8 = b'd';
    /// CopyDone: the data of COPY TO STDOUT is complete.
    pub const COPY_DONE: u8 = b'c';
    /// CopyInResponse: the server waits for data.
    pub const COPY_IN: u8 = b'G';
    /// CopyOutResponse: the server is about to send data.
    pub const COPY_OUT: u8 = b'H';
    /// DataRow: one row of a result.
    pub const DATA_ROW: u8 = b'D';
    /// EmptyQueryResponse: the query string was empty.
    pub const EMPTY_QUERY: u8 = b'I';
    /// ErrorResponse.
    pub const ERROR: u8 = b'E';
    /// FunctionCallResponse: the answer to FunctionCall.
    pub const FUNCTION_CALL_RESPONSE: u8 = b'V';
    /// GoAway: the server asks the client to leave when it suits it.
    pub const GO_AWAY: u8 = b'g';
    /// NegotiateProtocolVersion: what the server understood of the startup.
    pub const NEGOTIATE: u8 = b'v';
    /// NoData: the answer to Describe of what returns no rows.
    pub const NO_DATA: u8 = b'n';
    /// NoticeResponse.
    pub const NOTICE: u8 = b'N';
    /// NotificationResponse: what NOTIFY sends.
    pub const NOTIFICATION: u8 = b'A';
    /// ParameterDescription: types of the parameters of a statement.
    pub const PARAMETER_DESCRIPTION: u8 = b't';
    /// ParameterStatus: a reported setting and its value.
    pub const PARAMETER_STATUS: u8 = b'S';
    /// ParseComplete: the answer to Parse.
    pub const PARSE_COMPLETE: u8 = b'1';
    /// PortalSuspended: Execute stopped at its row limit.
    pub const PORTAL_SUSPENDED: u8 = b's';
    /// ReadyForQuery: with the state of the transaction.
    pub const READY_FOR_QUERY: u8 = b'Z';
    /// RowDescription: the columns of the rows that follow.
    pub const ROW_DESCRIPTION: u8 = b'T';
}
