// The most probable classes of images, in C++17 with onnxruntime's C API:
//
//     g++ -O2 -std=c++17 sample.cpp -I$ORT/include -L$ORT/lib -lonnxruntime -o sample
//     ./sample example.ppm
//
// $ORT is onnxruntime's package for C and C++. With -DEDGENEXT_MINIMAL_API its header is not needed.
// Binary PPM needs nothing else; with stb_image.h beside this file JPEG and PNG are read too.
// --logits prints all logits of an image on a line.

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

#if __has_include("stb_image.h")
#define STB_IMAGE_IMPLEMENTATION
#include "stb_image.h"
#define HAS_STB
#endif

#ifdef EDGENEXT_MINIMAL_API
// What this program calls of onnxruntime, at the places where version 1 of its API has it.
struct OrtStatus;
struct OrtEnv;
struct OrtSession;
struct OrtSessionOptions;
struct OrtRunOptions;
struct OrtValue;
struct OrtMemoryInfo;
enum { ORT_LOGGING_LEVEL_ERROR = 3 };
enum { OrtArenaAllocator = 1, OrtMemTypeDefault = 0 };
enum { ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT = 1, ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8 = 2 };
constexpr uint32_t ORT_API_VERSION = 1;
struct OrtApi {
  void* unused0[2];
  const char* (*GetErrorMessage)(const OrtStatus*);  // 2
  OrtStatus* (*CreateEnv)(int level, const char* name, OrtEnv**);
  void* unused4[3];
  OrtStatus* (*CreateSession)(const OrtEnv*, const char* path, const OrtSessionOptions*, OrtSession**);
  void* unused8[1];
  OrtStatus* (*Run)(OrtSession*, const OrtRunOptions*, const char* const* inputs,
                    const OrtValue* const* values, size_t count, const char* const* outputs,
                    size_t outputs_count, OrtValue** results);  // 9
  OrtStatus* (*CreateSessionOptions)(OrtSessionOptions**);
  void* unused11[38];
  OrtStatus* (*CreateTensorWithDataAsOrtValue)(const OrtMemoryInfo*, void* data, size_t bytes,
                                               const int64_t* shape, size_t rank, int type,
                                               OrtValue**);  // 49
  void* unused50[1];
  OrtStatus* (*GetTensorMutableData)(OrtValue*, void**);
  void* unused52[17];
  OrtStatus* (*CreateCpuMemoryInfo)(int allocator, int type, OrtMemoryInfo**);  // 69
  void* unused70[26];
  void (*ReleaseValue)(OrtValue*);  // 96
};
struct OrtApiBase {
  const OrtApi* (*GetApi)(uint32_t version);
  const char* (*GetVersionString)();
};
extern "C" const OrtApiBase* OrtGetApiBase();
#else
#include "onnxruntime_c_api.h"
#endif

namespace {

const char* const FILE_NAME = @@file;
const char* const INPUT = @@input;
const char* const OUTPUT = @@output;
constexpr bool PIXELS = @@pixels;  // whether the file normalises inside, and takes bytes
constexpr int SIZE = @@size;
constexpr int SHORT = @@short;  // of the shorter side before the crop
constexpr int CLASSES = @@classes;
constexpr bool BICUBIC = @@bicubic;  // else bilinear
constexpr double MEAN[] = {@@mean};
constexpr double STD[] = {@@std};

struct Image {
  int width, height;
  std::vector<uint8_t> pixels;  // height × width × 3, RGB
};

// --- the published preprocessing, bit for bit as Pillow computes it -----------------------------

constexpr int BITS = 22;  // behind the point of Pillow's integer weights

double filter(double x) {
  x = std::fabs(x);
  if (!BICUBIC) return std::max(0.0, 1 - x);
  const double a = -0.5;
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}

struct Weights {
  int first;
  std::vector<int> values;
};

// For `count` positions from `start`: the first source position, and the weights from there on.
std::vector<Weights> weights(int from, int to, int start, int count) {
  const double scale = double(from) / to, stretch = std::max(scale, 1.0);
  const double support = (BICUBIC ? 2 : 1) * stretch;
  std::vector<Weights> result(count);
  for (int i = 0; i < count; i++) {
    const double centre = (start + i + 0.5) * scale;
    const int first = std::max(int(centre - support + 0.5), 0);
    const int end = std::min(int(centre + support + 0.5), from);
    std::vector<double> real;
    for (int x = first; x < end; x++) real.push_back(filter((x - centre + 0.5) * (1 / stretch)));
    const double sum = std::accumulate(real.begin(), real.end(), 0.0);
    result[i].first = first;
    for (double w : real) {
      const double whole = w / sum * (1 << BITS);
      result[i].values.push_back(int(whole + (whole < 0 ? -0.5 : 0.5)));
    }
  }
  return result;
}

uint8_t byte(int sum) { return uint8_t(std::clamp(sum >> BITS, 0, 255)); }

int half_even(int value) {  // half of it, rounded to even
  return value / 2 + (value % 2 ? (value / 2) % 2 : 0);
}

// One pass over bytes of outer × length × inner: the middle axis becomes that of the weights.
std::vector<uint8_t> pass(const uint8_t* source, size_t outer, size_t length, size_t inner,
                          const std::vector<Weights>& taps) {
  std::vector<uint8_t> result(outer * taps.size() * inner);
  auto to = result.begin();
  for (size_t o = 0; o < outer; o++) {
    for (const Weights& tap : taps) {
      for (size_t i = 0; i < inner; i++) {
        int sum = 1 << (BITS - 1);
        const uint8_t* at = source + (o * length + tap.first) * inner + i;
        for (int weight : tap.values) sum += *at * weight, at += inner;
        *to++ = byte(sum);
      }
    }
  }
  return result;
}

// An image as the network sees it: SIZE × SIZE × 3 bytes.
std::vector<uint8_t> fit(const Image& image) {
  const int width = image.width, height = image.height;
  const int longer = int(double(int64_t(SHORT) * std::max(width, height)) / std::min(width, height));
  const int wide = width <= height ? SHORT : longer, high = width <= height ? longer : SHORT;
  const auto columns = weights(width, wide, half_even(wide - SIZE), SIZE);
  auto rows = weights(height, high, half_even(high - SIZE), SIZE);
  const uint8_t* pixels = image.pixels.data();
  if (height > high && height - high > 2 * (width - wide)) {  // Pillow 13; others: rows never first
    const auto low = pass(pixels, 1, height, size_t(width) * 3, rows);
    return pass(low.data(), SIZE, width, 3, columns);
  }
  const int begin = rows[0].first, end = rows[SIZE - 1].first + int(rows[SIZE - 1].values.size());
  for (Weights& row : rows) row.first -= begin;
  const auto narrow = pass(pixels + size_t(begin) * width * 3, end - begin, width, 3, columns);
  return pass(narrow.data(), 1, end - begin, size_t(SIZE) * 3, rows);
}

// Bytes as 3 × SIZE × SIZE floats, (x / 255 − mean) / std.
std::vector<float> normalised(const std::vector<uint8_t>& bytes) {
  std::vector<float> result(bytes.size());
  const size_t area = size_t(SIZE) * SIZE;
  for (int c = 0; c < 3; c++) {
    for (size_t i = 0; i < area; i++) {
      result[c * area + i] = float((bytes[i * 3 + c] - MEAN[c] * 255) / (STD[c] * 255));
    }
  }
  return result;
}

// --- files ---------------------------------------------------------------------------------------

Image read_image(const std::string& path) {
#ifdef HAS_STB
  int width, height, channels;
  if (uint8_t* data = stbi_load(path.c_str(), &width, &height, &channels, 3)) {
    Image image{width, height, {data, data + size_t(width) * height * 3}};
    stbi_image_free(data);
    return image;
  }
#endif
  std::ifstream file(path, std::ios::binary);
  std::string kind;
  long width = 0, height = 0, most = 0;
  file >> kind >> width >> height >> most;
  const bool valid = kind == "P6" && most == 255 && width > 0 && height > 0;
  if (!valid || width > 65535 || height > 65535) throw std::runtime_error(path + " is not a binary PPM");
  file.get();
  Image image{int(width), int(height), std::vector<uint8_t>(size_t(width) * height * 3)};
  file.read(reinterpret_cast<char*>(image.pixels.data()), std::streamsize(image.pixels.size()));
  if (!file) throw std::runtime_error(path + " is cut short");
  return image;
}

std::vector<std::string> read_lines(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  return lines;
}

// --- the network ---------------------------------------------------------------------------------

class Network {
 public:
  explicit Network(const std::string& path) : api_(OrtGetApiBase()->GetApi(ORT_API_VERSION)) {
    OrtEnv* env = nullptr;
    OrtSessionOptions* options = nullptr;
    check(api_->CreateEnv(ORT_LOGGING_LEVEL_ERROR, "sample", &env));
    check(api_->CreateSessionOptions(&options));
#ifdef _WIN32
    const std::wstring name(path.begin(), path.end());
    check(api_->CreateSession(env, name.c_str(), options, &session_));
#else
    check(api_->CreateSession(env, path.c_str(), options, &session_));
#endif
    check(api_->CreateCpuMemoryInfo(OrtArenaAllocator, OrtMemTypeDefault, &memory_));
  }

  std::vector<float> logits(std::vector<uint8_t> bytes) {
    std::vector<float> floats = PIXELS ? std::vector<float>() : normalised(bytes);
    const int64_t channels_first[] = {1, 3, SIZE, SIZE}, channels_last[] = {1, SIZE, SIZE, 3};
    OrtValue *input = nullptr, *output = nullptr;
    if (PIXELS) {
      check(api_->CreateTensorWithDataAsOrtValue(memory_, bytes.data(), bytes.size(), channels_last,
                                                 4, ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8, &input));
    } else {
      check(api_->CreateTensorWithDataAsOrtValue(memory_, floats.data(), floats.size() * sizeof(float),
                                                 channels_first, 4,
                                                 ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, &input));
    }
    check(api_->Run(session_, nullptr, &INPUT, &input, 1, &OUTPUT, 1, &output));
    void* values = nullptr;
    check(api_->GetTensorMutableData(output, &values));
    std::vector<float> result(static_cast<float*>(values), static_cast<float*>(values) + CLASSES);
    api_->ReleaseValue(input);
    api_->ReleaseValue(output);
    return result;
  }

 private:
  void check(OrtStatus* status) const {
    if (status) throw std::runtime_error(api_->GetErrorMessage(status));
  }

  const OrtApi* api_;
  OrtSession* session_ = nullptr;  // with its environment it lives as long as the program
  OrtMemoryInfo* memory_ = nullptr;
};

void print_best(const std::vector<float>& logits, const std::vector<std::string>& names) {
  const float most = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (float value : logits) sum += std::exp(double(value) - most);
  std::vector<int> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return logits[a] > logits[b]; });
  for (size_t i = 0; i < std::min<size_t>(5, order.size()); i++) {
    const int index = order[i];
    const char* name = size_t(index) < names.size() ? names[index].c_str() : "";
    std::printf("  %6.2f%%  %d %s\n", 100 * std::exp(double(logits[index]) - most) / sum, index, name);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const std::string program = argv[0];
  const size_t slash = program.find_last_of("/\\");
  const std::string folder = slash == std::string::npos ? "" : program.substr(0, slash + 1);
  bool all = false;
  try {
    Network network(folder + FILE_NAME);
    const auto names = read_lines(folder + "labels.txt");
    for (int i = 1; i < argc; i++) {
      if (std::string(argv[i]) == "--logits") {
        all = true;
        continue;
      }
      const auto bytes = fit(read_image(argv[i]));
      const auto start = std::chrono::steady_clock::now();
      const auto logits = network.logits(bytes);
      const std::chrono::duration<double, std::milli> spent = std::chrono::steady_clock::now() - start;
      if (all) {
        for (float value : logits) std::printf("%.9g ", value);
        std::printf("\n");
        continue;
      }
      std::printf("%s: %.1f ms\n", argv[i], spent.count());
      print_best(logits, names);
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}
