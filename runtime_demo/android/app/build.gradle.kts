plugins {
    id("com.android.application")
    id("org.jetbrains.kotlin.android")
}

val bundleC = rootProject.file(property("edgernn.c") as String)
val bundleOnnx = rootProject.file(property("edgernn.onnx") as String)
val bundleAssets = layout.buildDirectory.dir("bundles")

android {
    namespace = "org.edgernn.text"
    compileSdk = 35

    defaultConfig {
        applicationId = "org.edgernn.text"
        minSdk = 24
        targetSdk = 35
        versionCode = 1
        versionName = "1"
        ndk { abiFilters += listOf("arm64-v8a", "x86_64") }
        externalNativeBuild {
            cmake { arguments("-DBUNDLE=$bundleC", "-DLAYER=${rootProject.file("../c")}") }
        }
    }
    externalNativeBuild {
        cmake { path = file("src/main/cpp/CMakeLists.txt") }
    }
    sourceSets {
        getByName("main") { assets.srcDir(bundleAssets) }
    }
    compileOptions {
        sourceCompatibility = JavaVersion.VERSION_17
        targetCompatibility = JavaVersion.VERSION_17
    }
    kotlinOptions { jvmTarget = "17" }
}

// The files of the bundles that the app reads: model.bin, if the network in C has one, and those of the bundle in ONNX.
val copyBundles = tasks.register<Sync>("copyBundles") {
    into(bundleAssets)
    from(bundleC) {
        include("model.bin")
        into("c")
    }
    from(bundleOnnx) {
        include("bundle.json", "tokenizer.json", "*.onnx", "initial/**")
        into("onnx")
    }
}
tasks.named("preBuild") { dependsOn(copyBundles) }

dependencies {
    implementation("com.microsoft.onnxruntime:onnxruntime-android:1.22.0")
}
