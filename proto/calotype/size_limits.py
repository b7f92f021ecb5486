"""Size limits that several processes share: bytes unless the name says otherwise, and who enforces each.

job-service enforces every limit on a request, for REST and gRPC alike; the gateway checks the same ones earlier.
"""

MEBIBYTE = 1024 * 1024

#: Largest HTTP request body. Enforced by the gateway.
MAX_BODY_BYTES = 56 * MEBIBYTE
#: Largest gRPC message that carries a job. Enforced by job-service's port for clients, the gateway and the clients.
MAX_JOB_MESSAGE_BYTES = 48 * MEBIBYTE
#: Largest gRPC message between job-service and a generator. Enforced by the generator.
MAX_WORKER_MESSAGE_BYTES = 64 * MEBIBYTE
#: Part of an input image that job-service sends to a generator in one message.
INPUT_CHUNK_BYTES = MEBIBYTE
#: Most jobs of a batch. Enforced by job-service and the gateway.
MAX_BATCH_JOBS = 100
#: Largest batch without its input images, as a gRPC message; the response repeats it. Enforced by job-service.
MAX_BATCH_BYTES = 32 * MEBIBYTE

#: Largest encoded input image. Enforced by job-service and the gateway, and by the generator for a URL.
MAX_INPUT_BYTES = 20 * MEBIBYTE
#: Largest sum of the encoded input images and the mask. Enforced like `MAX_INPUT_BYTES`.
MAX_INPUT_BYTES_TOGETHER = 40 * MEBIBYTE
#: Most input images of a job, without the mask. Enforced by job-service and the gateway; a provider may take fewer.
MAX_INPUT_IMAGES = 16

#: Most images that one job generates. Enforced by job-service and the gateway; a provider may take fewer.
MAX_IMAGES = 10
#: Largest encoded image of a provider. Enforced by the generator.
MAX_IMAGE_BYTES = 64 * MEBIBYTE
#: Most pixels of an image, input or generated, and longest side in pixels. Enforced by the generator.
MAX_PIXELS = 50_000_000
MAX_SIDE = 16_384

#: Longest prompt and negative prompt in characters. Enforced by job-service and the gateway, as all that follow.
MAX_PROMPT_CHARACTERS = 32_000
#: Longest names of a provider, a model and a quality, in characters.
MAX_PROVIDER_CHARACTERS = 100
MAX_MODEL_CHARACTERS = 200
MAX_QUALITY_CHARACTERS = 64
#: Longest `end_user` in characters.
MAX_END_USER_CHARACTERS = 128
#: Longest URL in characters: of an input image and `callback_url`.
MAX_URL_CHARACTERS = 2048
#: Most fallbacks of a job.
MAX_FALLBACKS = 5
#: Most entries of `metadata`; longest key and value in characters.
MAX_METADATA_ENTRIES = 16
MAX_METADATA_KEY_CHARACTERS = 40
MAX_METADATA_VALUE_CHARACTERS = 500
#: Largest `provider_options` as JSON in ASCII.
MAX_OPTIONS_BYTES = 64 * 1024
