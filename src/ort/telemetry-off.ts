/**
 * Imported before the runtime's library, everywhere.
 *
 * Since 1.29 ONNX Runtime reports sessions, models and errors to its maker, keeps a device identifier on disk and
 * leaves log files in the temporary folder, unless this variable is set before the library starts
 * (github.com/microsoft/onnxruntime/pull/27379). A server that its owner runs on his own data reports to nobody.
 */
process.env.ORT_DISABLE_TELEMETRY = '1'
