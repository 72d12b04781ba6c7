/** What a program needs: the client, its error, tensors, and the shapes of the server's answers. */
export { Client } from './client.js'
export { BankswitchError } from './errors.js'
export { Inference } from './inference.js'
export type { AnsweredBy, InferOptions, WantedOutput } from './inference.js'
export type { BankLayer, BankValues, BlendOptions, RegisterOptions } from './banks.js'
export type { CalibrateOptions, CalibrationImages, CalibrationOptions, CalibrationResult } from './calibration.js'
export type { ClientOptions, CallOptions, DomainWish, PreconditionOptions } from './options.js'
export type {
  CompareOptions, LabelOptions, Picture, PictureOptions, PictureType, Sheet, SheetOptions
} from './pictures.js'
export type { RecognisedRow } from './recognised.js'
export type { Given } from './routes.js'
export type { Datatype, InputTensor, Tensor, Values } from './tensors.js'
export type {
  Accepted, AdminCall, Caller, Candidate, Comparison, Domain, DomainTraffic, Drift, DriftCandidate, Gate, History, Job,
  Model, Predictions, Progress, Recognised, Registered, Routes, Shadow, Traffic, Version
} from './generated/api.js'
